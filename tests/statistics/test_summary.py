"""Summary, ranking and density curves against pandas, scipy and plain loops."""

import itertools

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from scipy.stats import gaussian_kde

from embedshift.statistics import summary as tables
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.layout import image_rows
from embedshift.statistics.summary import RADAR_METRICS, density
from support import mirrored
from support.records import METRICS, SUITE, holes, lazy, records, summarised
from support.resampling import slow_bootstrap_t


@pytest.mark.parametrize(
    "rows",
    [records(), records(draws=1), holes(records()), holes(records(draws=3, images=5)), records(images=2, draws=1)],
)
def test_summary_equals_pandas(rows):
    found = summarised(rows)
    frame = pd.DataFrame(rows)
    assert found.columns == [
        "augmentation", "metric", "n", "mean", "sd", "median", "q05", "q95", "ci_low", "ci_high",
        "baseline", "relative_shift", "relative_shift_low", "relative_shift_high", "images", "groups",
    ]  # fmt: skip
    assert found.select("augmentation", "metric").rows() == list(itertools.product(SUITE, METRICS))
    for row in found.iter_rows(named=True):
        values = frame.loc[frame["view"] == row["augmentation"], row["metric"]].astype(float).dropna()
        assert row["n"] == len(values)
        if not len(values):
            assert {row[name] for name in found.columns[3:-2]} == {None}
            continue
        wanted = {
            "mean": values.mean(), "sd": values.std(), "median": values.median(), "q05": values.quantile(0.05),
            "q95": values.quantile(0.95),
        }  # fmt: skip
        assert {name: row[name] for name in wanted} == pytest.approx(wanted, rel=1e-12, abs=1e-12)
        assert row["images"] == frame.loc[values.index, "image_id"].nunique()
        if row["images"] < LEAST_IMAGES:
            assert row["ci_low"] is row["ci_high"] is None
        else:
            assert row["ci_low"] < row["mean"] < row["ci_high"]


def test_summary_is_in_the_order_of_the_suite_and_of_the_metrics():
    found = summarised(records(), suite=SUITE[::-1], metrics=METRICS[::-1])
    assert found.select("augmentation", "metric").rows() == list(itertools.product(SUITE[::-1], METRICS[::-1]))


def test_one_image_one_draw():
    found = summarised(records(images=1, draws=1))
    assert found["n"].to_list() == [1] * len(found)
    assert found["sd"].is_null().all()
    for column in ("median", "q05", "q95"):
        assert found[column].to_list() == found["mean"].to_list()
    for column in ("ci_low", "ci_high", "relative_shift_low", "relative_shift_high"):
        assert found[column].is_null().all(), "one image has no interval"


def test_no_rows_at_all():
    found = summarised(records(images=0))
    assert found["n"].to_list() == [0] * 24
    assert found["mean"].is_null().all()


def test_the_unit_is_the_image_whatever_the_draws():
    once = records(images=12, draws=1)
    # Twenty draws that are all alike tell no more than one does.
    repeated = [row | {"draw": d} for row in once for d in range(20 if row["view"] != "original" else 1)]
    first, second = summarised(once), summarised(repeated)
    assert second["n"].to_list() == [240] * len(second)
    assert second["images"].to_list() == [12] * len(second)
    for column in ("mean", "ci_low", "ci_high"):
        np.testing.assert_allclose(second[column], first[column], rtol=1e-9)
    one_image = [row for row in repeated if row["image_id"] == once[0]["image_id"]]
    assert summarised(one_image)["ci_low"].is_null().all(), "twenty draws of one image are one image"


def test_equal_seeds_equal_numbers():
    rows = records(images=20)
    assert summarised(rows, seed=3).equals(summarised(rows, seed=3))
    first, second = summarised(rows, seed=3), summarised(rows, seed=4)
    assert (first["ci_low"] != second["ci_low"]).mean() > 0.8  # some end at a bound of the metric
    assert first.drop("ci_low", "ci_high").equals(second.drop("ci_low", "ci_high"))


def test_ranking_equals_a_loop():
    rows = records()
    summary = summarised(rows)
    found = tables.ranking(summary)
    assert found.columns == ["augmentation", "mean_performance", "rank"]
    assert found["augmentation"].to_list() == SUITE
    frame = pd.DataFrame(rows)
    wanted = [
        np.nanmean([frame.loc[frame["view"] == name, metric].astype(float).mean() for metric in RADAR_METRICS])
        for name in SUITE
    ]
    np.testing.assert_allclose(found["mean_performance"], wanted, rtol=1e-12)
    np.testing.assert_array_equal(found["rank"], stats.rankdata([-value for value in wanted]))


def test_ranking_without_attention_is_over_the_four_that_exist():
    rows = [row | {"attention_similarity": None} for row in records()]
    found = tables.ranking(summarised(rows))
    means = summarised(rows).filter(pl.col("metric").is_in(sorted(set(RADAR_METRICS) - {"attention_similarity"})))
    for name, value in zip(found["augmentation"], found["mean_performance"], strict=True):
        assert value == pytest.approx(np.mean(means.filter(pl.col("augmentation") == name)["mean"].to_list()))


def test_ranking_ignores_distance_and_optional_metrics():
    rows = records()
    ranking = tables.ranking(summarised(rows))
    changed = [row | {"l2_distance": None if row["l2_distance"] is None else 1e6} for row in rows]
    assert tables.ranking(summarised(changed)).equals(ranking)
    optional = summarised(rows).head(1).with_columns(pl.lit("patch_similarity_uint8").alias("metric"), pl.lit(9.0).alias("mean"))  # fmt: skip  # noqa: E501
    assert tables.ranking(pl.concat([summarised(rows), optional])).equals(ranking)


def test_rank_1_is_the_least_changed_and_equal_means_relative_shift_a_rank():
    values = (("a", 0.2), ("b", 0.9), ("c", 0.2), ("d", 0.1))
    summary = pl.DataFrame(
        [(name, metric, value) for name, value in values for metric in RADAR_METRICS],
        schema=["augmentation", "metric", "mean"],
        orient="row",
    )
    assert tables.ranking(summary)["rank"].to_list() == [2, 1, 2, 4]


def test_a_metric_that_one_augmentation_lacks_is_left_out_for_all():
    """Over the others alone, the one that lacks its worst metric would rank better for it."""
    rows = [(name, metric, 0.8) for name in ("whole", "lacking") for metric in RADAR_METRICS]
    rows = [(n, m, 0.1 if m == "detail_preservation" else v) for n, m, v in rows]
    rows = [(n, m, None if (n, m) == ("lacking", "detail_preservation") else v) for n, m, v in rows]
    table = pl.DataFrame(rows, schema=["augmentation", "metric", "mean"], orient="row")
    assert tables.ranked_metrics(table) == [m for m in RADAR_METRICS if m != "detail_preservation"]
    assert tables.ranking(table)["rank"].to_list() == [1, 1]


@pytest.mark.slow
def test_the_interval_of_the_mean_performance_is_that_of_the_images_own_means():
    rows = records(images=30, draws=2)
    of = tables.measured(image_rows(lazy(rows)), SUITE, METRICS)
    table = tables.performance(of, RADAR_METRICS, seed=4, baselines={})
    frame = pd.DataFrame(rows)
    for row in table.iter_rows(named=True):
        part = frame[frame["view"] == row["augmentation"]]
        own = part.groupby("image_id")[list(RADAR_METRICS)].mean().astype(float).mean(axis=1).to_numpy()
        low, high = slow_bootstrap_t(own, seed=1)
        # Other resamples: their ends differ by some per cent of the width.
        assert row["ci_low"] == pytest.approx(low, abs=0.12 * (high - low))
        assert row["ci_high"] == pytest.approx(high, abs=0.12 * (high - low))


RNG = np.random.default_rng(0)

PILED = {
    "near the high end": (1 - RNG.exponential(0.01, 500).clip(max=2), -1, 1),
    "half of them at the low end": (np.abs(RNG.normal(size=400)) * RNG.integers(0, 2, 400), 0, np.inf),
    "at both ends": (RNG.integers(0, 2, 60).astype(float), 0, 1),
    "two values, both at ends": (np.array([0.0, 1.0]), 0, 1),
    "evenly between both": (RNG.uniform(-1, 1, 300), -1, 1),
    "at a high end alone": (-RNG.exponential(3, 200), -np.inf, 0),
    "far from any": (RNG.normal(50, 1, 200), 0, 100),
}


@pytest.mark.parametrize("name", PILED)
def test_the_area_is_one(name):
    values, low, high = PILED[name]
    x, y = density(values, low, high)
    assert low <= x.min() <= x.max() <= high
    assert np.trapezoid(y, x) == pytest.approx(1, abs=1e-2)
    assert (y >= 0).all()


@pytest.mark.parametrize("bounds", [(), (0.0,), (0.0, 100.0), (-np.inf, 100.0)])
def test_it_is_scipy_s_away_from_bounds(bounds):
    values = RNG.normal(50, 1, 200)
    x, y = density(values, *bounds)
    np.testing.assert_allclose(y, gaussian_kde(values)(x), rtol=1e-9)


def test_at_a_bound_the_mirror_images_are_added():
    values = np.abs(RNG.normal(size=300))
    x, y = density(values, low=0.0)
    np.testing.assert_allclose(y, mirrored.density(values, x, 0.0), rtol=1e-9)
    assert y[0] > 0.6, "no dip at the bound, where a half-normal has its 0.8"


@pytest.mark.parametrize("bounds", [(), (0.0,), (0.0, 1.0)])
def test_many_values_are_counted_in_bins(bounds):
    values = np.append(RNG.beta(1.2, 9, 12_000), [0.999])
    x, y = density(values, *bounds)
    np.testing.assert_allclose(y, mirrored.density(values, x, *bounds), atol=5e-4 * y.max())


def test_there_is_none_of_one_value_or_of_equal_ones():
    assert density(np.array([0.5])) is None
    assert density(np.full(9, 0.5), 0, 1) is None


@pytest.mark.parametrize("times", [1e-6, 1e-3, 1e3, 1e6])
def test_the_unit_of_the_values_changes_the_unit_of_the_curve_alone(times):
    values = RNG.normal(2, 1, 200)
    x, y = density(values)
    other_x, other_y = density(times * values)
    np.testing.assert_allclose(other_x, times * x, rtol=1e-9)
    np.testing.assert_allclose(other_y, y / times, rtol=1e-6)


def test_values_that_differ_by_rounding_are_equal():
    assert density(1e6 + np.array([0.0, 1e-7, 2e-7])) is None
    assert density(1e-3 + np.array([0.0, 1e-8, 2e-8])) is not None
