"""The tables of the worst case: from the rows, by hand; and attack.json as data that somebody else may have written."""

import json
import re
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch import nn

import embedshift
from embedshift.errors import UsageError
from embedshift.sources.views_file import AttackedVariant, attack_identity, read_attack_record
from support.models import MEAN, SIZE, STD, pictures

pytestmark = pytest.mark.slow

COUNT = 9


class Net(nn.Module):
    """Two layers, so that gradients turn on the way."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(192, 24), nn.Tanh(), nn.Linear(24, 8))
        rng = np.random.default_rng(0)
        for each in self.layers.parameters():
            each.data = torch.from_numpy(rng.normal(size=each.shape, scale=0.3).astype(np.float32))

    def forward(self, pixels):
        return self.layers(pixels)


@pytest.fixture(scope="module")
def encoder():
    return embedshift.wrap(Net(), size=SIZE, mean=MEAN, std=STD, device="cpu", name="net")


@pytest.fixture(scope="module")
def adv(encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("attack")
    settings = {"eps": [8, 2], "steps": 5, "through": ["bits:4"]}
    embedshift.attack(pictures(folder / "photos", COUNT), out=folder / "adv", model=encoder, **settings)
    return folder / "adv"


def run(adv, out, encoder, names=("control-linf-8", "linf-8", "linf-2", "linf-8-through-bits-4"), **settings):
    pairs = [adv / name for name in names]
    return embedshift.run(adv / "original", pairs=pairs, out=out, model=encoder, workers=0, **settings)


@pytest.fixture(scope="module")
def study(adv, encoder, tmp_path_factory):
    return run(adv, tmp_path_factory.mktemp("study") / "study", encoder, purify=["bits:4", "blur:1"])


def cosines(study):
    rows = study.rows().filter(pl.col("view") != "original").collect()
    return {name: part["cosine_similarity"].to_numpy() for (name,), part in rows.group_by("view")}


def test_budgets_rise_with_their_controls_beside_them(study):
    table = study.table("worst").filter(pl.col("kind") != "natural")
    order = ["linf-2", "linf-8", "linf-8-through-bits-4", "control-linf-8"]
    assert table["variant"].to_list() == order
    assert table["eps"].to_list() == [2.0, 8.0, 8.0, 8.0]
    assert table["kind"].to_list() == ["attack"] * 3 + ["control"]
    assert table["through"].to_list() == ["", "", "bits:4", ""]
    summary = study.summary().filter(metric="cosine_similarity")
    measured = cosines(study)
    for row in table.iter_rows(named=True):
        expected = summary.filter(augmentation=row["variant"]).to_dicts()[0]
        assert row["mean"] == pytest.approx(measured[row["variant"]].mean())
        assert all(
            row[key] == expected[key]
            for key in ("n", "relative_shift", "relative_shift_low", "relative_shift_high", "ci_low", "ci_high")
        )
        assert row["relative_shift_low"] is not None
    means = dict(table.select("variant", "mean").iter_rows())
    assert means["linf-8"] < means["linf-2"] < means["control-linf-8"]


def test_natural_changes_of_the_same_originals_stand_beside_them(study, adv, encoder):
    """As many views of each original as the paper has augmentations, as `make_views` draws them."""
    table = study.table("worst").filter(kind="natural")
    originals = {path.name: np.asarray(Image.open(path)) for path in sorted((adv / "original").iterdir())}
    cosines = []
    for name, original in originals.items():
        views = embedshift.make_views(original, image_id=name, seed=0, size=SIZE)
        found = encoder(np.stack(list(views.values()))).embedding.astype(np.float64)
        unit = found / np.linalg.norm(found, axis=1, keepdims=True)
        cosines.append(dict(zip([*views][1:], unit[1:] @ unit[0], strict=True)))
    baseline = study.summary().filter(metric="cosine_similarity")["baseline"][0]
    means = {name: np.mean([each[name] for each in cosines]) for name in cosines[0]}
    assert table["variant"].to_list() == sorted(means, key=lambda name: means[name])
    for row in table.iter_rows(named=True):
        assert row["n"] == COUNT
        assert row["mean"] == pytest.approx(means[row["variant"]], abs=1e-6)
        assert row["relative_shift"] == pytest.approx((1 - row["mean"]) / (1 - baseline), abs=1e-6)
        assert row["ci_low"] < row["mean"] < row["ci_high"]
        assert row["norm"] is row["eps"] is row["relative_shift_low"] is None


def test_purifiers_by_hand(study):
    table, found = study.table("purify"), cosines(study)
    assert len(table) == 4 * 2
    for row in table.iter_rows(named=True):
        clean, before = found[f"original+{row['purifier']}"], found[row["variant"]]
        after = found[f"{row['variant']}+{row['purifier']}"]
        assert row["n"] == COUNT
        for name, values in (("clean", clean), ("before", before), ("after", after)):
            assert row[name] == pytest.approx(values.mean())
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
        if before.mean() < clean.mean():
            assert row["recovered"] == pytest.approx(1 - (1 - after.mean()) / (1 - before.mean()))
            assert row["recovered_low"] <= row["recovered"] <= row["recovered_high"]
        else:
            assert row["recovered"] is None
    assert table["recovered"].null_count() < len(table)


def test_the_interval_of_what_is_recovered_is_that_of_a_jackknife(study):
    """By another way: the ratio without each image in turn."""
    found = cosines(study)
    row = study.table("purify").filter(variant="linf-8", purifier="blur:1").to_dicts()[0]
    before, after = found["linf-8"], found["linf-8+blur:1"]
    ratios = [
        1 - (1 - np.delete(after, place).mean()) / (1 - np.delete(before, place).mean()) for place in range(COUNT)
    ]
    error = np.sqrt((COUNT - 1) / COUNT * np.square(ratios - np.mean(ratios)).sum())
    width = (row["recovered_high"] - row["recovered_low"]) / 2
    assert 1.5 * error < width < 6 * error


def page_of(study, **settings):
    html = study.report(figures=[], **settings).read_text()
    return html, html[html.index('<section id="worst"') :].partition("</section>")[0]


def test_the_page_says_what_was_attacked_and_marks_what_the_attack_knew(study):
    html, section = page_of(study)
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", section))
    assert "in 5 steps along gradients of net , to move the embedding away from that of the original." in words
    assert "This study measures the same encoder." in words
    assert "With a budget of 2 of 255 levels" in words
    assert "with random signs it is 0.99" in words
    assert words.count("known to the attack") == 1
    assert "defence" not in html.lower()
    assert section.count('<img src="data:image/webp;base64,') == 2 * (1 + 2 * 2)


HOSTILE = [
    {"variants": {"linf-8": {"norm": "linf", "eps": -1}}},
    {"variants": {"linf-8": {"norm": "<script>", "eps": 1}}},
    {"variants": []},
    {"encoder": 3},
    {"steps": []},
]


def test_a_foreign_attack_json_is_said_and_left(adv, encoder, tmp_path, caplog):
    told = attack_identity([str(adv / "original")], {"linf-8": str(adv / "linf-8")})
    for more in HOSTILE:
        with pytest.raises(UsageError, match=r"attack\.json does not record what was attacked"):
            read_attack_record(told | more)
    copy = shutil.copytree(adv, tmp_path / "adv")
    (copy / "attack.json").write_text(json.dumps(json.loads((copy / "attack.json").read_text()) | HOSTILE[0]))
    study = run(copy, tmp_path / "study", encoder, names=["linf-8"], limit=2)
    assert "the report cannot name the attack that made the variants" in caplog.text
    assert "worst" not in study.table_names


def test_only_what_lies_beside_its_originals_is_of_the_attack(adv, tmp_path):
    beside = {"mine": str(adv / "linf-8"), "other": str(tmp_path / "linf-8")}
    assert attack_identity([str(adv / "original")], beside)["variants"].keys() == {"mine"}, (
        "by its folder, not its name"
    )
    assert attack_identity([str(adv / "linf-8")], {"linf-2": str(adv / "linf-2")}) == {}
    assert attack_identity([str(adv / "original")], {"linf-8": str(tmp_path / "linf-8")}) == {}
    assert attack_identity(["s3://bucket/original"], {"linf-8": "s3://bucket/linf-8"}) == {}
    assert attack_identity([str(tmp_path)], {"linf-8": str(tmp_path / "linf-8")}) == {}
    for name in ("linf-8", "linf-8-through-bits-4", "control-linf-2"):
        variant = attack_identity([str(adv / "original")], {name: str(adv / name)})["variants"][name]
        assert AttackedVariant(**variant).name == name


def test_pictures_that_were_exchanged_are_not_shown_as_those_of_the_attack(adv, encoder, tmp_path, caplog):
    folder = shutil.copytree(adv, tmp_path / "adv")
    first, second = sorted((folder / "original").iterdir())[:2]
    first.write_bytes(second.read_bytes())
    exchanged = run(folder, tmp_path / "study", encoder, ["linf-8"])
    assert f"{first} is not the image that the attack wrote" in caplog.text
    assert "worst" not in exchanged.table_names


def test_names_of_others_are_escaped_and_without_pictures_none_is_shown(adv, encoder, tmp_path):
    copy = shutil.copytree(adv, tmp_path / "adv")
    told = json.loads((copy / "attack.json").read_text())
    (copy / "attack.json").write_text(json.dumps(told | {"encoder": "<script>alert(1)</script>"}))
    study = run(copy, tmp_path / "study", encoder, names=["linf-8"], limit=2)
    html, section = page_of(study, pictures=False)
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert(1)" not in html
    assert "<img" not in section
    assert "picture-0" not in section
