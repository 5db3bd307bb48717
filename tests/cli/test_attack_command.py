"""`embedshift attack`: killed and gone on with, what it prints, its exit codes; then a transfer study to its report."""

import json
import shutil

import pytest

import embedshift
from support import studies
from support.models import make

pytestmark = pytest.mark.slow

STEPS = 10


def model():
    return str(studies.checkpoint("vit"))


def photos():
    return studies.pictures(3)


def arguments(out, *more):
    return ["attack", photos(), "--out", out, "--model", model(), "--device", "cpu", "--eps", "4,8", *more]


@pytest.fixture(scope="module")
def adv(tmp_path_factory):
    out = tmp_path_factory.mktemp("adv") / "adv"
    embedshift.attack(photos(), out=out, model=model(), steps=STEPS, eps=[4, 8], device="cpu")
    return out


def test_what_it_prints(adv, tmp_path, cli):
    out = shutil.copytree(adv, tmp_path / "adv")
    done = cli(*arguments(out, "--steps", STEPS))
    assert done.code == 0
    assert "3 of 3 images attacked" in done.out
    assert "3 of 3 images are done" in done.err
    assert f"--pairs {out}/original {out}/linf-4 {out}/control-linf-4 {out}/linf-8" in done.out
    told = json.loads(cli(*arguments(out, "--steps", STEPS, "--json", "-q")).out)
    assert [row["variant"] for row in told["variants"]] == ["linf-4", "control-linf-4", "linf-8", "control-linf-8"]
    assert told["counts"] == {"attacked": 3, "failed": 0}
    records = json.loads((out / "attack.json").read_text())["images"].values()
    assert told["variants"][0]["mean"] == pytest.approx(sum(each["cosine"]["linf-4"] for each in records) / 3)


def test_failed_images_are_a_warning_and_none_left_an_error(tmp_path, cli):
    folder = shutil.copytree(photos(), tmp_path / "photos")
    (folder / "broken.png").write_bytes(b"")
    done = cli("attack", folder, "--out", tmp_path / "adv", "--model", model(), "--steps", 1, "--limit", 2)
    assert done.code == 0
    assert (
        "warning: 1 of 2 images could not be attacked (first: broken.png, stage decode: the file is empty)" in done.err
    )
    done = cli("attack", folder / "broken.png", "--out", tmp_path / "other", "--model", model(), "--steps", 1)
    assert done.code == 1
    assert "no image could be attacked" in done.line


def test_refusals_are_one_line_with_flags(adv, tmp_path, cli):
    wrong = {
        "attack: steps: 10 there, 3 now. Choose another --out": arguments(adv, "--steps", 3),
        "eps 0.5: linf counts whole pixel levels": ["attack", photos(), "--out", tmp_path, "--eps", "0.5"],
        "--eps, value 1, must be a valid number": ["attack", photos(), "--out", tmp_path, "--eps", "four"],
        "purifier 'jpeg': jpeg needs a quality": ["attack", photos(), "--out", tmp_path, "--through", "jpeg"],
        "--target gone.png: No such file": arguments(tmp_path, "--target", "gone.png"),
        "nowhere: no such file or folder": ["attack", tmp_path / "nowhere", "--out", tmp_path / "adv"],
        "--out is empty": ["attack", photos(), "--out", ""],
    }
    for words, given in wrong.items():
        done = cli(*given)
        assert done.code == 2
        assert words in done.line


@pytest.mark.matrix
def test_a_transfer_study_says_who_was_attacked_and_who_is_measured(adv, tmp_path, cli):
    other = make("clip_vision", tmp_path / "other")
    variants = [adv / name for name in ("linf-8", "control-linf-8")]
    done = cli("run", "--pairs", adv / "original", *variants, "--out", tmp_path / "study", "--model", other)
    assert done.code == 0
    html = (tmp_path / "study" / "report.html").read_text()
    section = html[html.index('<section id="worst"') :].partition("</section>")[0]
    assert "10 steps along gradients of <b>vit</b>" in section
    assert "This study measures <b>other</b>, which the attack did not use: the attack is transferred." in section
    assert section.count('<img src="data:image/webp;base64,') == 2 * 3
    assert "linf-8: difference × 16" in section
    study = embedshift.load(tmp_path / "study")
    assert study.table("worst")["variant"].to_list()[:2] == ["linf-8", "control-linf-8"]
    assert set(study.table("worst")["kind"][2:]) == {"natural"}
