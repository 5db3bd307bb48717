"""Pairs through a whole run: the rows, what is missing or broken, and who may go on with whose study."""

import io
import json
import logging
import shutil

import numpy as np
import polars as pl
import pytest
from PIL import Image
from polars.testing import assert_frame_equal
from torch import nn

import embedshift
from embedshift import EmbedshiftError
from embedshift.statistics.summary import PAPER_METRICS
from support import studies
from support.archives import write_parquet, write_tar
from support.matrix import first_only
from support.mean_colour import MeanColour
from support.pairs import QUALITIES, re_encoded, run_pairs, tiles

pytestmark = pytest.mark.slow

COUNT = 9
TABLES = ("summary", "ranking", "differences", "pairwise", "clusters", "directions", "shifts", "geometry", "failures")


@pytest.fixture(scope="module")
def made():
    return studies.paired()[0]


@pytest.fixture
def pairs(made, tmp_path):
    """A copy to break."""
    return shutil.copytree(made, tmp_path / "pairs")


def same(first, second):
    """The rows and the tables, bit for bit."""
    assert first.rows().collect().equals(second.rows().collect(), null_equal=True)
    for name in TABLES:
        one, two = (study.failures() if name == "failures" else study.table(name) for study in (first, second))
        assert one.equals(two, null_equal=True), name


def decoded(file):
    return np.asarray(Image.open(file).convert("RGB"))


@pytest.fixture(scope="module")
def whole():
    return studies.paired()[1]


def test_rows_are_of_the_files_as_pillow_decodes_them(made, whole):
    rows = whole.rows().collect()
    assert len(rows) == COUNT * 3
    assert set(rows["view_seed"]) == set(rows["draw"]) == {0}
    for row in rows.iter_rows(named=True):
        stem = row["image_id"].removesuffix(".png")
        name = f"originals/{stem}.png" if row["view"] == "original" else f"{row['view']}/{stem}.jpg"
        expected = MeanColour()(decoded(made / name)[None])
        np.testing.assert_array_equal(row["embedding"], expected.embedding[0])
        np.testing.assert_array_equal(row["attention"], expected.attention[0].ravel())
        if row["view"] != "original":
            original = MeanColour()(decoded(made / "originals" / row["image_id"])[None]).embedding[0]
            distance = np.linalg.norm(original.astype(float) - expected.embedding[0].astype(float))
            assert row["l2_distance"] == pytest.approx(distance, abs=1e-9)


@pytest.mark.matrix
def test_the_same_change_as_an_augmentation_gives_the_same_rows_to_decoding(made, whole, tmp_path):
    own = {name: re_encoded(quality) for name, quality in QUALITIES.items()}
    drawn = embedshift.run(
        made / "originals", augmentations=own, out=tmp_path / "study", model=MeanColour(), workers=0, shard_size=4
    )
    for index, image in enumerate(tiles(COUNT)):
        stem = f"{'deep/' if index % 3 == 0 else ''}{index:02}"
        for name, change in own.items():
            apart = decoded(made / name / f"{stem}.jpg").astype(int) - change(image, np.random.default_rng(0))
            assert np.abs(apart).max() <= 4, "Pillow and OpenCV may round otherwise"
    one, other = (study.rows().collect() for study in (whole, drawn))
    keys = ["image_id", "view", "draw", "pixels"]
    assert one.select(keys).equals(other.select(keys))
    for metric in PAPER_METRICS:
        tolerance = 0.5 if metric == "l2_distance" else 0.02
        assert_frame_equal(one.select(metric), other.select(metric), abs_tol=tolerance)
    moved = pl.col("view") != "original"
    assert one.filter(moved)["l2_distance"].mean() > 5, "the tolerance is far below the change"


@pytest.mark.matrix
def test_neither_workers_nor_archives_change_a_bit(made, whole, tmp_path):
    members = {
        name: sorted((p.relative_to(made / name).as_posix(), p.read_bytes()) for p in (made / name).rglob("*.*"))
        for name in ("originals", *QUALITIES)
    }
    write_tar(tmp_path / "q50.tar", members["q50"])
    write_parquet(tmp_path / "x.parquet", members["q50"], rows=2, q10=[data for _, data in members["q10"]])
    places = [
        (made / "originals", [made / "q50", made / "q10"], 2),
        (made / "originals", {"q50": tmp_path / "q50.tar", "q10": f"{tmp_path / 'x.parquet'}#q10"}, 0),
    ]
    for number, (originals, variants, workers) in enumerate(places):
        settings = {"model": MeanColour(), "workers": workers, "shard_size": 4}
        study = embedshift.run(originals, pairs=variants, out=tmp_path / f"{number}", **settings)
        rows = (each.rows().collect().sort("image_id", maintain_order=True) for each in (study, whole))
        assert next(rows).equals(next(rows), null_equal=True)
        assert (study.info()["order"] == "shuffled") == (number == 0), "blocks of Parquet are read together"
        if number == 0:
            same(study, whole)


@pytest.mark.matrix
def test_sizes_and_ways_to_resize_are_those_of_the_originals(tmp_path):
    rng = np.random.default_rng(0)
    for name, shape in (("originals", (60, 90)), ("v", (30, 45))):
        (tmp_path / name).mkdir()
        for index in range(3):
            pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    for how in ("squash", "crop"):
        study = run_pairs(tmp_path, tmp_path / how, variants=["v"], resize=how)
        rows = study.rows().collect()
        for row in rows.iter_rows(named=True):
            image = decoded(tmp_path / ("v" if row["view"] == "v" else "originals") / row["image_id"])
            view = embedshift.make_views(image, image_id="", size=32, resize=how)["original"]
            np.testing.assert_array_equal(row["embedding"], MeanColour()(view[None]).embedding[0])


# What is missing, extra, or broken.


def test_a_missing_variant_is_a_row_of_failures(pairs, made, tmp_path):
    (pairs / "q10" / "04.jpg").unlink()
    Image.new("RGB", (32, 32)).save(pairs / "q50" / "extra.png")
    study = run_pairs(pairs, tmp_path / "study")
    assert study.failures().rows() == [("04.png", "list", "no variant in q10", False)]
    counts = study.info()["counts"]
    assert (counts["images"], counts["measured"], counts["failed"]) == (COUNT, COUNT - 1, 1)
    assert counts["skipped"] == {"no original: q50": 1}
    assert set(study.summary()["n"]) == {COUNT - 1}


BROKEN = {
    "cut": ("decode", "the image is damaged or ends early"),
    "empty": ("decode", "the file is empty"),
    "gone": ("read", "No such file or directory"),
}


@pytest.mark.parametrize("kind", first_only(BROKEN))
@pytest.mark.parametrize("allow_missing", [False, True])
def test_a_broken_variant_is_a_failure_and_never_half_a_pair(pairs, tmp_path, kind, allow_missing):
    file = pairs / "q10" / "04.jpg"
    if kind == "gone":
        file.unlink()
        file.symlink_to(tmp_path / "nowhere")
    else:
        file.write_bytes(file.read_bytes()[: 200 if kind == "cut" else 0])
    study = run_pairs(pairs, tmp_path / "study", allow_missing=allow_missing)
    ((image, stage, reason, _),) = study.failures().rows()
    assert (image, stage) == ("04.png", BROKEN[kind][0])
    assert reason.startswith(f"q10: {BROKEN[kind][1]}")
    assert str(tmp_path) not in reason
    assert "04.png" not in set(study.rows().collect()["image_id"])


# Who may go on with whose study.


@pytest.mark.matrix
def test_a_run_that_was_stopped_goes_on(made, whole, tmp_path):
    study = run_pairs(made, tmp_path / "study")
    for index in (0, 2):
        (study.folder / "shards" / f"part-{index:05}.parquet").unlink()
    kept = (study.folder / "shards" / "part-00001.parquet").stat().st_mtime_ns
    same(run_pairs(made, tmp_path / "study", workers=1), whole)
    assert (study.folder / "shards" / "part-00001.parquet").stat().st_mtime_ns == kept


def test_a_changed_variant_is_another_study_and_the_line_names_it(pairs, tmp_path):
    run_pairs(pairs, tmp_path / "study")
    file = io.BytesIO()
    Image.fromarray(tiles(1)[0]).save(file, "JPEG", quality=49)
    (pairs / "q50" / "04.jpg").write_bytes(file.getvalue())
    with pytest.raises(EmbedshiftError, match=r"contains another study: augmentations\.q50\.hash: ") as caught:
        run_pairs(pairs, tmp_path / "study")
    assert "q10" not in str(caught.value)


def test_allow_missing_is_another_study_only_where_something_is_missing(pairs, tmp_path):
    first = run_pairs(pairs, tmp_path / "study")
    assert run_pairs(pairs, tmp_path / "study", allow_missing=True).info()["config_hash"] == first.info()["config_hash"]
    (pairs / "q10" / "04.jpg").unlink()
    run_pairs(pairs, tmp_path / "other")
    with pytest.raises(EmbedshiftError, match=r"augmentations\.q10\.missing: null there, 1 now"):
        run_pairs(pairs, tmp_path / "other", allow_missing=True)


@pytest.mark.matrix
def test_two_encoders_on_the_same_pairs_are_compared(pairs, made, whole, tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.Flatten(), nn.Linear(4 * 16, 8))
    encoder = embedshift.wrap(net, size=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    other = run_pairs(made, tmp_path / "other", model=encoder)
    found = embedshift.compare([whole, other])
    assert found.studies["compared"].to_list() == [COUNT, COUNT]
    patches = found.comparison.filter(pl.col("augmentation") != "all", metric="patch_similarity")
    assert patches["difference"].to_list() == [0.0, 0.0], "equal pixels"
    shutil.copyfile(pairs / "q10" / "04.jpg", pairs / "q10" / "05.jpg")
    changed = run_pairs(pairs, tmp_path / "changed")
    with pytest.raises(EmbedshiftError, match=r"does not have the same images and views .*augmentations\.q10\.hash"):
        embedshift.compare([whole, changed])


def test_study_json_says_where_the_variants_lie(made, whole):
    content = json.loads((whole.folder / "study.json").read_text())
    assert content["source"]["root"] == str(made / "originals")
    assert content["source"]["variants"]["q50"]["root"] == str(made / "q50")
    assert content["config"]["augmentations"] == "pairs"
    assert content["config"]["pairs"] == [str(made / name) for name in QUALITIES]
    assert content["augmentations"] == list(QUALITIES)
    assert content["identity"]["draws"] == 1
    assert content["identity"]["augmentations"]["q50"].keys() == {"variant", "hash"}
    assert "claims" not in content["questions"]


def test_a_run_says_what_it_does(pairs, tmp_path, caplog):
    (pairs / "q10" / "04.jpg").unlink()
    with caplog.at_level(logging.INFO, "embedshift"):
        run_pairs(pairs, tmp_path / "study")
    lines = [record.getMessage() for record in caplog.records]
    assert "q10: variants for 8 of 9 images, none for 1 (first: 04.png)" in lines
    assert f"hashing the bytes of {2 * COUNT - 1} variants" in lines


def test_the_study_does_not_lie_among_the_variants(pairs):
    with pytest.raises(EmbedshiftError, match="is the folder of the images"):
        run_pairs(pairs, pairs / "q50")


def test_names_that_cannot_be_are_refused(pairs, tmp_path):
    (pairs / "q50").rename(pairs / "original")
    with pytest.raises(EmbedshiftError, match="'original' cannot be a name"):
        run_pairs(pairs, tmp_path / "study", variants=["original"])
