"""Ratios of distances, image by image, against plain loops, and what an order by pairs says."""

import itertools
import math

import numpy as np
import polars as pl
import pytest

from embedshift.statistics import sample as samples
from embedshift.statistics.baselines import Baseline
from embedshift.statistics.intervals import simultaneous_intervals
from embedshift.statistics.layout import image_rows
from embedshift.statistics.summary import DIFFERENCES_SCHEMA, contrasts, differences, measured, moving, ordered
from support.matrix import first_only
from support.resampling import slow_max_t

NAMES = ["noise", "blur", "flip", "still"]
METRICS = ["cosine_similarity", "l2_distance", "edge_preservation"]
VIEWS = ["original", *NAMES, *NAMES]
FAR = np.log([0.3, 0.02, 0.019, 0.001])


def world(images=30, seed=0):
    """Distances of four augmentations in two draws, `[n, 2, 4]`: lognormal, alike within an image."""
    rng = np.random.default_rng(seed)
    return np.exp(FAR + 0.5 * rng.normal(size=(images, 1, 1)) + 0.4 * rng.normal(size=(images, 2, 4)))


def table_of(distances, **more):
    """The table of a study with these cosine distances, ten times as large L2 distances, and a metric of pixels."""
    views = np.concatenate([np.full((len(distances), 1), np.nan), distances.reshape(len(distances), -1)], axis=1)
    columns = {"cosine_similarity": 1 - views, "l2_distance": 10 * views, "edge_preservation": np.exp(-views)}
    rows = pl.DataFrame({"view": VIEWS * len(views)} | {name: values.ravel() for name, values in columns.items()})
    chosen = moving(METRICS, {"l2_distance": Baseline(5.0, 0.1)})
    return differences(measured(image_rows(rows.lazy()), NAMES, METRICS, None, chosen), seed=0, **more)


def test_ratios_equal_a_loop():
    distances = world()
    distances[3, 1, 1] = np.nan  # one draw of blur
    table = table_of(distances)
    assert dict(table.schema) == DIFFERENCES_SCHEMA
    logs = [[[math.log(d) for d in image[:, a] if not math.isnan(d)] for a in range(4)] for image in distances]
    by_image = np.array([[sum(draws) / len(draws) for draws in image] for image in logs])
    pairs = list(itertools.combinations(range(4), 2))
    logarithms = np.stack([by_image[:, a] - by_image[:, b] for a, b in pairs], axis=1)
    critical = slow_max_t(logarithms, seed=9)
    for metric in METRICS[:2]:
        part = table.filter(metric=metric)
        assert part.select("augmentation", "other").rows() == [(NAMES[a], NAMES[b]) for a, b in pairs]
        for column, row in zip(logarithms.T, part.iter_rows(named=True), strict=True):
            mean, error = column.mean(), column.std(ddof=1) / math.sqrt(len(column))
            assert row["ratio"] == pytest.approx(math.exp(mean), rel=1e-9)
            assert math.log(row["ratio_high"] / row["ratio_low"]) / 2 == pytest.approx(critical * error, rel=0.08)
            assert row["ratio_low"] * row["ratio_high"] == pytest.approx(row["ratio"] ** 2, rel=1e-9)
            assert row["significant"] == (row["ratio_low"] > 1 or row["ratio_high"] < 1)
    assert table.filter(metric="edge_preservation")["ratio"].is_null().all()


def test_ratios_settle_what_differences_do_not():
    table = table_of(world(8, seed=3)).filter(metric="cosine_similarity")
    noise = table.filter(augmentation="noise")
    assert noise["significant"].all()
    assert ((noise["low"] < 0) & (noise["high"] > 0)).any(), "by means some pair is open"


@pytest.mark.parametrize("size", [0.0, 1e-13])
def test_an_image_that_does_not_move_leaves_its_pairs_to_the_difference(size):
    distances = world()
    whole = table_of(distances)
    distances[7, 0, 3] = size  # still, in one of two draws
    table = table_of(distances)
    unmoved = (pl.col("augmentation") == "still") | (pl.col("other") == "still")
    for metric in METRICS[:2]:
        part = table.filter(metric=metric)
        assert part.filter(unmoved)["ratio"].null_count() == part.filter(unmoved)["ratio_low"].null_count() == 3
        for row in part.filter(unmoved).iter_rows(named=True):
            assert row["significant"] == (row["low"] > 0 or row["high"] < 0)
        rest, wanted = (each.filter(~unmoved, metric=metric) for each in (table, whole))
        assert rest["ratio"].to_list() == pytest.approx(wanted["ratio"].to_list(), rel=1e-12)
        assert (rest["ratio_high"] < wanted["ratio_high"] * 1.05).all()


def test_few_images_have_ratios_without_intervals():
    table = table_of(world(7)).filter(metric="l2_distance")
    assert table["ratio"].null_count() == 0
    assert table["ratio_low"].null_count() == table["ratio_high"].null_count() == 6
    assert not table["significant"].any()


def pair(first, last, ratio, significant=True, metric="cosine_similarity"):
    """A row: which one is how many times as far; None = compared by the means, 0.1 apart in similarity."""
    ends = (None, None) if ratio is None else (ratio / 2, ratio * 2)
    return (first, last, metric, -0.1, None, None, None, ratio, *ends, significant)


def order_of(rows, names):
    return ordered(pl.DataFrame(rows, schema=DIFFERENCES_SCHEMA, orient="row"), "cosine_similarity", names)


def test_an_order_names_all_that_may_be_the_ends():
    """c is nearer than b, b is not told from a: a or b is the first, and c the last."""
    rows = [pair("b", "a", 0.9, False), pair("c", "a", 0.4, False), pair("b", "c", 3.0)]
    found = order_of(rows, ["c", "a", "b"])
    assert (found.names, found.most, found.least) == (["a", "b", "c"], ["a", "b"], ["c", "a"])
    assert found.significant == {("b", "c"), ("c", "b")}
    assert found.ratios["c", "b"] == pytest.approx((1 / 3, 1 / 6, 2 / 3))
    assert len(found.ratios) == 6
    assert order_of([], ["x", "y"]).most == ["x", "y"]


def test_an_order_takes_the_means_where_there_is_no_ratio_and_only_the_names_that_are_given():
    rows = [pair("a", "b", None), pair("b", "c", 0.5), pair("x", "a", 9.0), pair("a", "c", 2.0, metric="other")]
    found = order_of(rows, ["a", "b", "c"])
    assert (found.most, found.least) == (["a", "c"], ["b"])
    assert {("b", "c"), ("c", "b")} == found.ratios.keys()


@pytest.mark.slow
@pytest.mark.parametrize("residuals", first_only(["skewed", "unequal"]))
def test_equal_augmentations_are_seldom_told_apart(residuals):
    """At most 6 % of studies, but for the error of the simulation; skewed, or of unequal spread."""
    rng, studies = np.random.default_rng(0), 250
    wrong = 0
    for _ in range(studies):
        skewed, unequal = 1 - rng.exponential(size=(20, 9)), rng.normal(0, np.linspace(0.2, 2, 9), (20, 9))
        logarithms = 0.5 * rng.normal(size=(20, 1)) + (skewed if residuals == "skewed" else unequal)
        pairs = samples.estimates_from_values(logarithms).paired(contrasts(9))
        wrong += bool(simultaneous_intervals(pairs, seed=0, resamples=999).significant.any())
    assert wrong / studies <= 0.06 + 2 * math.sqrt(0.06 * 0.94 / studies)
