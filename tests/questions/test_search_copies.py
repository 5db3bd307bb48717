"""Likely copies between a study and a gallery: planted leaks are found, exact and near, and few others."""

import json

import numpy as np
import polars as pl
import pytest
from PIL import Image

import embedshift
from support.command import call
from support.mean_colour import MeanColour

SIZE, TRAIN, TEST, LEAKS = 24, 200, 120, 30


@pytest.fixture(scope="module")
def sets():
    """Vectors of two sets: 15 of the second are equal to some of the first, 15 are near."""
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(TRAIN, SIZE)), rng.normal(size=(TEST, SIZE))
    test[:LEAKS] = train[:LEAKS]
    test[15:LEAKS] += 0.1 * rng.normal(size=(15, SIZE))
    train[100:105] = train[110:115] + 0.02 * rng.normal(size=(5, SIZE))
    return train, test


def made(folder, rows, prefix, *, views=True):
    ids = [f"{prefix}/{place}" for place in range(len(rows))]
    rng = np.random.default_rng(7)
    shifted = {"jpeg": rows + 0.1 * rng.normal(size=rows.shape)} if views else {}
    return embedshift.from_vectors(rows, shifted, out=folder, ids=ids, model="A")


@pytest.mark.parametrize("is_study", [True, False])
def test_planted_leaks_are_found_and_no_pair_within_a_set(sets, is_study, tmp_path):
    train, test = sets
    study = made(tmp_path / "train", train, "train")
    gallery = tmp_path / "test.npy"
    np.save(gallery, test)
    if is_study:
        gallery = made(tmp_path / "test", test, "test").folder
    table = study.gallery_copies(gallery=gallery)
    name = "gallery:test/{}" if is_study else "gallery:{}"
    planted = {(f"train/{place}", name.format(place)) for place in range(LEAKS)}
    pairs = {*table.select("image_id", "other").iter_rows()}
    assert planted <= pairs
    assert len(pairs - planted) <= 2  # one false pair is expected
    assert table["cosine"][0] == pytest.approx(1)
    assert table["expected_false"].max() <= 1
    # Every pair as near as the last is listed: a loop over all of them.
    cosines = (train / np.linalg.norm(train, axis=1, keepdims=True)) @ (
        test / np.linalg.norm(test, axis=1, keepdims=True)
    ).T
    for row in table.iter_rows(named=True):
        one, other = (int(row[end].rpartition("/")[2].rpartition(":")[2]) for end in ("image_id", "other"))
        assert row["cosine"] == pytest.approx(cosines[one, other], abs=1e-6)
    listed = study.gallery_copies(gallery=gallery, threshold=0.5)
    assert len(listed) == (cosines >= 0.5).sum()


def test_two_sets_without_leaks_have_about_the_expected_false_pairs(tmp_path):
    false = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        study = made(tmp_path / f"a{seed}", rng.normal(size=(150, SIZE)), "a")
        np.save(tmp_path / "b.npy", rng.normal(size=(100, SIZE)))
        false.append(len(study.gallery_copies(gallery=tmp_path / "b.npy")))
    assert np.mean(false) <= 2


def test_equal_images_come_first_and_originals_alone_have_copies(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(1)
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        for number in range(12):
            pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / part / f"{part}{number}.png")
    with Image.open(tmp_path / "train" / "train3.png") as image:
        image.save(tmp_path / "test" / "leak.bmp")
    studies = [
        embedshift.run(
            tmp_path / part, out=tmp_path / f"{part}-study", model=MeanColour(), augmentations="none", workers=0
        )
        for part in ("train", "test")
    ]
    done = call(monkeypatch, capsys, "search", studies[0].folder, "--gallery", studies[1].folder, "--json")
    first = json.loads(done.out)["gallery_copies"][0]
    assert (first["image_id"], first["other"], first["exact"]) == ("train3.png", "gallery:leak.bmp", True)
    done = call(monkeypatch, capsys, "search", studies[0].folder, "--gallery", studies[1].folder)
    assert "1 of equal pixels" in done.out
    assert "gallery:leak.bmp" in done.out


def test_the_page_lists_them_until_a_search_without_the_gallery(sets, tmp_path):
    study = made(tmp_path / "train", sets[0], "train")
    np.save(tmp_path / "test.npy", sets[1])
    table = study.gallery_copies(gallery=tmp_path / "test.npy")
    study.report(figures=[])
    page = (study.folder / "report.html").read_text()
    assert 'id="gallery-copies"' in page
    assert "gallery:14" in page
    assert study.table("gallery_copies").equals(table)
    study.search(gallery="")
    study.report(figures=[])
    assert 'id="gallery-copies"' not in (study.folder / "report.html").read_text()


def test_many_are_found_by_faiss(sets, tmp_path, monkeypatch):
    pytest.importorskip("faiss")
    from embedshift.statistics import search_index
    from embedshift.store import alike

    study = made(tmp_path / "train", sets[0], "train")
    np.save(tmp_path / "test.npy", sets[1])
    exact = study.gallery_copies(gallery=tmp_path / "test.npy")
    calls = []
    monkeypatch.setattr(search_index, "LEAST_PAIRED", 100)
    kept = alike.near_pairs
    monkeypatch.setattr(alike, "near_pairs", lambda *args: calls.append(1) or kept(*args))
    again = embedshift.load(study.folder).gallery_copies(gallery=tmp_path / "test.npy", expected_false=1.0001)
    assert calls
    ends = ("image_id", "other")
    assert {*exact.select(ends).iter_rows()} == {*again.select(ends).iter_rows()}
    assert again["cosine"].to_list() == pl.Series(exact["cosine"]).to_list()
