"""Pairs where images may lack a variant: null rows, and tables of the images that have one."""

import shutil

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from embedshift.questions.clusters import Tree
from embedshift.statistics.summary import PAPER_METRICS
from support import models, studies
from support.pairs import run_pairs, tiles, write_pairs

COUNT = 9


@pytest.fixture(scope="module")
def whole():
    return studies.paired()[1]


@pytest.fixture(scope="module")
def lacking(tmp_path_factory):
    """A study where 04 lacks q10, and one without that image."""
    folder = tmp_path_factory.mktemp("lacking")
    pairs = write_pairs(folder / "pairs", tiles(COUNT))
    few = shutil.copytree(pairs, folder / "few")
    (pairs / "q10" / "04.jpg").unlink()
    (few / "originals" / "04.png").unlink()
    study = run_pairs(pairs, folder / "study", allow_missing=True, metrics=["strength", "attention"])
    return study, run_pairs(few, folder / "without", metrics=["strength", "attention"])


@pytest.mark.slow
def test_a_view_that_is_missing_is_a_row_of_nulls(lacking, whole):
    study, _ = lacking
    rows, view = study.rows().collect(), pl.col("view")
    assert study.failures().is_empty()
    assert len(rows) == 3 * COUNT == study.info()["counts"]["rows"]
    lost = rows.filter((view == "q10") & (pl.col("image_id") == "04.png"))
    assert len(lost) == 1
    kept = ("image_id", "view", "draw", "view_seed")
    assert all(lost[name][0] is None for name in lost.columns if name not in kept)
    # The other rows are those of the whole study.
    key = (view != "q10") | (pl.col("image_id") != "04.png")
    columns = [name for name in whole.rows().collect_schema() if name != "pairwise"]
    assert rows.filter(key).select(columns).equals(whole.rows().filter(key).select(columns).collect(), null_equal=True)
    assert np.isnan(rows.filter(pl.col("image_id") == "04.png")["pairwise"][0].to_numpy()).all()
    assert lost["embedding"].null_count() == rows["embedding"].null_count() == 1


def test_numbers_are_of_the_images_that_have_the_variant(lacking, whole):
    study, without = lacking
    q10, q50 = (pl.col("augmentation") == name for name in ("q10", "q50"))
    columns = ["metric", "n", "images", "mean", "sd", "median", "q05", "q95", "ci_low", "ci_high"]
    there = pl.col("metric").is_in(PAPER_METRICS)
    one, few, full = (each.summary().filter(there).select("augmentation", *columns) for each in (study, without, whole))
    assert set(one.filter(q10)["n"]) == set(one.filter(q10)["images"]) == {COUNT - 1}
    assert_frame_equal(one.filter(q50), full.filter(q50), abs_tol=1e-12)
    plain = [name for name in columns if not name.startswith("ci")]
    assert_frame_equal(one.filter(q10).select(plain), few.filter(q10).select(plain), abs_tol=1e-12)
    # The baseline is over all originals.
    baselines = (each.summary().filter(there)["baseline"] for each in (study, whole))
    np.testing.assert_allclose(*baselines, rtol=1e-12)


def test_other_tables_skip_the_view(lacking, whole):
    study, without = lacking
    shifts, few, full = (each.table("shifts") for each in (study, without, whole))
    assert shifts["images"].to_list() == [COUNT, COUNT - 1]
    own = ["resultant", "resultant_by_chance", "split_half"]
    assert_frame_equal(shifts.filter(augmentation="q50").select(own), full.filter(augmentation="q50").select(own))
    assert_frame_equal(
        shifts.filter(augmentation="q10").select(own), few.filter(augmentation="q10").select(own), rel_tol=1e-5
    )
    assert_frame_equal(study.pairwise(), without.pairwise(), abs_tol=1e-12)
    sets = [
        each.table("geometry").filter(views="q10", metric="effective_rank")["value"][0] for each in (study, without)
    ]
    assert sets[0] == pytest.approx(sets[1], rel=1e-12)
    # Trees on means, for which embeddings are read.
    means = [each.clusters(Tree(on="means")) for each in (study, without)]
    assert means[0].null_count().sum_horizontal()[0] == 0
    assert means[0].columns == means[1].columns


@pytest.mark.matrix
@pytest.mark.slow
def test_layers_skip_the_image_in_cka_and_the_view_in_shifts(tmp_path):
    model = str(models.make("dinov2", tmp_path / "model"))
    pairs = write_pairs(tmp_path / "pairs", tiles(40))
    (pairs / "q10" / "04.jpg").unlink()
    few = shutil.copytree(pairs, tmp_path / "few")
    (few / "originals" / "04.png").unlink()
    settings = {"model": model, "layers": True, "shard_size": 64, "batch_size": 300}
    study = run_pairs(pairs, tmp_path / "lacking", allow_missing=True, **settings)
    without = run_pairs(few, tmp_path / "without", **settings)
    sums = [each.reader().sums("cka") for each in (study, without)]
    assert [part["images"].item() for part in sums] == [39, 39]
    np.testing.assert_allclose(sums[0]["terms"], sums[1]["terms"], rtol=1e-5)
    layers, expected = (each.layers().filter(augmentation="q10").drop("ci_low", "ci_high") for each in (study, without))
    assert set(layers["n"]) == {39}
    assert_frame_equal(layers, expected, abs_tol=1e-5)


def test_the_identity_counts_what_is_missing(lacking):
    study, _ = lacking
    info = study.info()
    assert info["variants"]["q10"]["missing"] == 1
    assert info["identity"]["augmentations"]["q10"]["missing"] == 1
    assert "missing" not in info["identity"]["augmentations"]["q50"]
