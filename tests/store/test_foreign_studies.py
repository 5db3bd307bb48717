"""What a study.json from somebody else may say: no code, no large image, no traceback."""

import json
import os

import pytest

import embedshift
from embedshift.augmentations import load_suite, rebuild_suite
from embedshift.errors import EmbedshiftError
from embedshift.store.files import with_checksum
from embedshift.store.info import write_content
from embedshift.store.redraw import redraw
from support import command
from support.matrix import first_only
from support.revised import say_identity
from support.synthetic import make_study

pytestmark = pytest.mark.slow

FLIP = load_suite("paper").describe()["horizontal_flip"]


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path / "study", 4, ["noise", "mirror"], with_pictures=True)


def with_mirror(study, entry):
    content = study.info()
    content["identity"]["augmentations"]["mirror"] = entry
    say_identity(study.folder, content)
    return study


ODD = {
    "value": {"albumentations": {"__class_fullname__": "Blur", "blur_limit": "many", "p": 1.0}},
    "class": {"albumentations": {"__class_fullname__": "os.system", "command": "touch ran"}},
    "lambda": {"albumentations": {"__class_fullname__": "Lambda", "__name__": "x"}},
    "image": {"albumentations": {"__class_fullname__": "PadIfNeeded", "min_height": 200_000, "min_width": 200_000}},
    "nested": {"albumentations": {"__class_fullname__": "Compose", "transforms": [{"a": 1}]}},
    "family": {"built_in": "blur@1", "version": 1,
              "level": {"family": "gaussian_blur", "number": 1, "parameter": 1e9, "unit": "px", "zero": 0}},
    "steps": {"steps": [{"name": "a", "albumentations": {"__class_fullname__": "Blur", "blur_limit": [9, 3]}}]},
    "built in": {"built_in": "mirror", "version": 99},
}  # fmt: skip


@pytest.mark.matrix
@pytest.mark.parametrize("name", first_only(ODD))
def test_an_augmentation_that_cannot_be_made_is_left_out(name, study):
    assert rebuild_suite({"mirror": ODD[name], "flip": FLIP}).names == ("flip",)
    found, missing = redraw(with_mirror(study, ODD[name]).reader(), ["image-00000.png"])
    assert missing == {}
    assert set(found[0].views) == {"original", "noise"}
    study.report(figures=["views"], formats=["svg"])


def test_an_augmentation_that_fails_is_said_of_its_view(study):
    entry = {"albumentations": {"__class_fullname__": "Crop", "x_max": 9, "y_max": 9, "p": 1.0}}
    (image,), _ = redraw(with_mirror(study, entry).reader(), ["image-00000.png"])
    assert "mirror" not in image.views
    assert "it must be uint8 (32, 32, 3)" in image.missing["mirror"]


def test_large_views_are_not_drawn(study):
    content = study.info()
    content["encoder"]["size"] = 30_000
    write_content(study.folder, content)
    assert redraw(study.reader(), ["image-00000.png"]) == (
        [], {"image-00000.png": "views of more than 4,096 pixels a side are not drawn"},
    )  # fmt: skip


def test_a_crop_that_would_be_too_large_is_a_reason(study):
    content = study.info()
    content["identity"]["resize"] = "crop"
    content["encoder"]["shortest"] = 10**6
    say_identity(study.folder, content)
    assert "too elongated to be cropped" in redraw(study.reader(), ["image-00000.png"])[1]["image-00000.png"]


WRONG = {
    "nothing": lambda _: {},
    "a list": lambda _: [],
    "no counts": lambda content: {key: value for key, value in content.items() if key != "counts"},
    "no number": lambda content: content | {"counts": content["counts"] | {"images": "many"}},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_study_json_that_no_run_wrote_is_one_line(name, study, monkeypatch, capsys):
    content = WRONG[name](study.info())
    content = with_checksum(content) if isinstance(content, dict) else content
    (study.folder / "study.json").write_text(json.dumps(content))
    with pytest.raises(EmbedshiftError, match="study"):
        embedshift.load(study.folder)
    done = command.call(monkeypatch, capsys, "report", study.folder)
    assert done.code == 2
    assert done.line


@pytest.mark.parametrize("content", ["[" * 200_000, '{"a":' * 50_000, "", "{", "\udcff", '{"schema_version": 8}'])
def test_what_is_no_study_json_at_all(content, tmp_path):
    (tmp_path / "study.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(EmbedshiftError, match=r"no study here|incomplete or damaged"):
        embedshift.load(tmp_path)


def test_a_pipe_in_the_place_of_study_json_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "study.json")
    with pytest.raises(EmbedshiftError, match="not a file"):
        embedshift.load(tmp_path)


def test_failures_that_are_cut_are_those_of_the_shards(study):
    (study.folder / "failures.parquet").write_bytes(b"PAR1")
    assert study.failures().is_empty()


@pytest.mark.matrix
def test_names_beyond_ascii_under_an_ascii_locale(tmp_path):
    study = make_study(tmp_path / "study", ["é.png", "ü.png", "日本.png"], ["noise", "blur"], with_pictures=True)
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for arguments in (["report", study.folder, "--figures", "views"], ["verify", study.folder]):
        done = command.finish(command.start(*arguments, **ascii_alone))
        assert done.code == 0, done.err
    assert "could not be read again" not in (study.folder / "report.html").read_text(encoding="utf-8")
    assert "日本.png" in (study.folder / "report.html").read_text(encoding="utf-8")


def test_a_folder_whose_name_is_no_text(tmp_path, monkeypatch, capsys):
    folder = make_study(tmp_path / "study", 12, ["noise", "blur"]).folder
    odd = tmp_path / "caf\udce9"
    folder.rename(odd)
    (tmp_path / "rules.yaml").write_text(
        "- {table: summary, metric: cosine_similarity, augmentation: blur, at_least: 0}"
    )
    for arguments in (["report", odd], ["search", odd], ["verify", odd], ["compare", odd, folder.parent / "other"],
                      ["check", odd, "--rules", tmp_path / "rules.yaml"]):  # fmt: skip
        done = command.call(monkeypatch, capsys, *arguments)
        assert done.code in (1, 2)
        assert "caf\\xe9: contains bytes that are not UTF-8; rename it" in " ".join((done.out + done.err).split())
