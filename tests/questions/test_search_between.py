"""Likely copies between two parts of a study: planted leaks are found, equal images first, and no others are listed."""

import json

import numpy as np
import pytest
from PIL import Image

import embedshift
from embedshift.errors import UsageError
from support.command import call
from support.mean_colour import MeanColour

SIZE, TRAIN, TEST = 24, 200, 120


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """30 images of test are near those of train; and five pairs are near within train."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(TRAIN + TEST, SIZE))
    rows[TRAIN : TRAIN + 30] = rows[:30] + 0.02 * rng.normal(size=(30, SIZE))
    rows[100:105] = rows[110:115] + 0.02 * rng.normal(size=(5, SIZE))
    ids = [f"a/{'train' if place < TRAIN else 'test'}/{place}" for place in range(len(rows))]
    folder = tmp_path_factory.mktemp("between") / "study"
    return embedshift.from_vectors(rows, {"jpeg": rows + 0.1}, out=folder, ids=ids, model="A")


def test_planted_leaks_are_found_and_no_pair_within_a_part(study):
    found = study.between("train,test")
    planted = {(f"a/train/{place}", f"a/test/{TRAIN + place}") for place in range(30)}
    pairs = {*found.select("image_id", "other").iter_rows()}
    assert planted <= pairs
    assert len(pairs - planted) <= 2  # one false pair is expected
    assert not any(one.startswith("a/test") or other.startswith("a/train") for one, other in pairs)
    assert len(study.table("duplicates")) >= len(pairs) + 5
    turned = study.between(["test", "train"])
    assert {*turned.select("other", "image_id").iter_rows()} == pairs


def test_the_expected_number_of_false_pairs_is_that_of_pairs_between_the_parts(study):
    pairs = {(row["image_id"], row["other"]): row for row in study.table("duplicates").iter_rows(named=True)}
    share = TRAIN * TEST / ((TRAIN + TEST) * (TRAIN + TEST - 1) / 2)
    for row in study.between("train,test").iter_rows(named=True):
        one = pairs[min(row["image_id"], row["other"]), max(row["image_id"], row["other"])]
        assert row["expected_false"] == pytest.approx(share * one["expected_false"])


def test_equal_images_come_first(tmp_path):
    rng = np.random.default_rng(1)
    for part, names in (("train", "abcdefghij"), ("test", "klmnopqrst")):
        (tmp_path / "images" / part).mkdir(parents=True)
        for name in names:
            pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / part / f"{name}.png")
    with Image.open(tmp_path / "images" / "train" / "a.png") as image:
        image.save(tmp_path / "images" / "test" / "k.bmp")
    study = embedshift.run(
        tmp_path / "images", out=tmp_path / "study", model=MeanColour(),
        augmentations={"dark": lambda image, rng: image // 2}, workers=0,
    )  # fmt: skip
    first = study.between("train,test").row(0, named=True)
    assert (first["image_id"], first["other"], first["exact"]) == ("train/a.png", "test/k.bmp", True)


def test_groups_are_parts_too(tmp_path):
    rows = np.random.default_rng(2).normal(size=(60, SIZE))
    rows[59] = rows[0]
    groups = ["left" if place < 30 else "right" for place in range(60)]
    study = embedshift.from_vectors(rows, {"jpeg": rows + 0.1}, out=tmp_path / "study", groups=groups, model="A")
    assert study.between("left,right").select("image_id", "other").rows()[0] == ("0", "59")


def test_the_command_prints_and_refuses(study, monkeypatch, capsys):
    done = call(monkeypatch, capsys, "search", study.folder, "--between", "train,test")
    assert "Between train and test: 3" in done.out
    done = call(monkeypatch, capsys, "search", study.folder, "--between", "train,test", "--json")
    assert len(json.loads(done.out)["between"]) == len(study.between("train,test"))
    for given, words in (
        ("train", "give two folders or groups"),
        ("train,train", "give two folders or groups"),
        ("train,val", "`between` val: no image of"),
        ("a,test", "lies in both a and test"),
    ):
        with pytest.raises(UsageError, match=words):
            study.between(given)
