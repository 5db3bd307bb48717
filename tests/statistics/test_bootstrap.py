"""The bootstrap over images against scipy's, and what must hold to the last digit."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

from embedshift.statistics import bootstrap
from embedshift.statistics import summary as tables
from support.records import METRICS, SUITE, holes, records, summarised


def scipy_interval(rows, name, metric):
    """scipy's percentile interval of the ratio of sums, images resampled."""
    frame = pd.DataFrame(rows)
    frame = frame[frame["view"] == name]
    grouped = frame.assign(value=frame[metric].astype(float)).groupby("image_id")["value"]
    sums, counts = grouped.sum().to_numpy(), grouped.count().to_numpy()

    def mean(index, axis):
        return sums[index].sum(axis=axis) / counts[index].sum(axis=axis)

    rng = np.random.default_rng(8)
    result = stats.bootstrap(
        (np.arange(len(sums)),), mean, n_resamples=20_000, method="percentile", vectorized=True, rng=rng
    )
    return result.confidence_interval


@pytest.mark.parametrize(
    "rows", [records(images=40, draws=1), records(images=25, draws=4), holes(records(images=30, draws=2))]
)
def test_intervals_equal_scipy_s_bootstrap(rows):
    for row in summarised(rows).iter_rows(named=True):
        if row["n"]:
            low, high = scipy_interval(rows, row["augmentation"], row["metric"])
            # Two sets of resamples differ in the ends of their intervals by about 2 % of the width.
            tolerance = 0.08 * (high - low)
            assert abs(row["ci_low"] - low) < tolerance, row
            assert abs(row["ci_high"] - high) < tolerance, row


def test_images_are_resampled_with_all_their_draws():
    once = records(images=12, draws=1)
    # Twenty draws that are all alike tell no more than one does.
    repeated = [row | {"draw": d} for row in once for d in range(20 if row["view"] != "original" else 1)]
    first, second = summarised(once), summarised(repeated)
    assert second["n"].to_list() == [240] * len(second)
    for column in ("mean", "ci_low", "ci_high"):
        np.testing.assert_allclose(second[column], first[column], rtol=1e-9)
    naive = summarised([row | {"image_id": f"{row['image_id']} {copy}"} for copy in range(20) for row in once])
    width = (second["ci_high"] - second["ci_low"]) / (naive["ci_high"] - naive["ci_low"])
    assert width.min() > 3, "as if every draw were an image of its own"


def test_equal_seeds_equal_numbers():
    rows = records(images=20)
    assert summarised(rows, seed=3).equals(summarised(rows, seed=3))
    first, second = summarised(rows, seed=3), summarised(rows, seed=4)
    assert (first["ci_low"] != second["ci_low"]).all()
    assert first.drop("ci_low", "ci_high").equals(second.drop("ci_low", "ci_high"))


def test_there_are_2000_resamples_and_they_are_paired():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 1))
    ones = np.ones_like(values)
    means = tables.resampled_means(values, ones, seed=5)
    assert means.shape == (2000, 1)
    assert len(np.unique(means)) > 1990
    # Another column of another call meets the same resamples.
    np.testing.assert_allclose(tables.resampled_means(3 * values + 1, ones, seed=5), 3 * means + 1, rtol=0, atol=1e-12)
    assert means.mean() == pytest.approx(values.mean(), abs=4 * values.std() / np.sqrt(30 * 2000))
    assert means.std() == pytest.approx(values.std() / np.sqrt(30), rel=0.08)


def test_draws_across_blocks_are_multinomial(monkeypatch):
    """Weights themselves, read with one column per image: every moment of drawing n of n with replacement."""
    monkeypatch.setattr(bootstrap, "BLOCK", 7)
    images, resamples = 25, 40_000
    weights = bootstrap.resampled_sums(bootstrap.in_blocks(np.eye(images)), images, seed=1, resamples=resamples)
    assert (weights.sum(axis=1) == images).all()
    assert (weights == weights.astype(int)).all()
    error = 6 / np.sqrt(resamples)
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=error)
    expected = np.eye(images) - 1 / images  # n p (1 - p) and -n p p
    np.testing.assert_allclose(np.cov(weights.T), expected, atol=2 * error)
    never = (weights == 0).mean(axis=0)
    np.testing.assert_allclose(never, (1 - 1 / images) ** images, atol=error)


def test_a_stream_of_blocks_gives_what_arrays_in_memory_give(monkeypatch):
    monkeypatch.setattr(bootstrap, "BLOCK", 4)
    rows = holes(records(images=11, draws=3))
    table = summarised(rows, seed=5)
    for name in SUITE:
        part = pd.DataFrame([row for row in rows if row["view"] == name])[METRICS].astype(float)
        sums, counts = tables.per_image(part.to_numpy(), np.repeat(np.arange(11), 3))
        means = tables.resampled_means(sums, counts, seed=5)
        found = table.filter(augmentation=name)
        for column, metric in enumerate(METRICS):
            row = found.row(by_predicate=pl.col("metric") == metric, named=True)
            if np.isnan(means[:, column]).all():
                assert row["ci_low"] is None
                continue
            expected = np.nanquantile(means[:, column], (0.025, 0.975))
            np.testing.assert_allclose((row["ci_low"], row["ci_high"]), expected, rtol=1e-12)


def test_blocks_that_are_missing_or_cut_otherwise_are_refused():
    with pytest.raises(ValueError, match="3 of 3 images are missing"):
        bootstrap.resampled_sums([], 3, seed=0)
    with pytest.raises(ValueError, match="a block of 2 images where 5 belong"):
        bootstrap.resampled_sums([np.ones((2, 1))], 5, seed=0)


def test_resamples_without_a_value_are_not_numbers():
    means = tables.resampled_means(np.array([[5.0], [0.0], [0.0]]), np.array([[1.0], [0.0], [0.0]]), seed=0)
    assert np.isnan(means).mean() == pytest.approx((2 / 3) ** 3, abs=0.05)
    assert (means[~np.isnan(means)] == 5).all()


def test_sums_per_image_equal_a_loop():
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(6), [1, 3, 2, 1, 4, 2])
    values = np.where(rng.random((13, 2)) < 0.3, np.nan, rng.normal(size=(13, 2)))
    sums, counts = tables.per_image(values, image)
    for number in range(6):
        for column in range(2):
            there = [value for value in values[image == number, column] if value == value]
            assert sums[number, column] == pytest.approx(sum(there), abs=1e-12)
            assert counts[number, column] == len(there)
