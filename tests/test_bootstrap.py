"""The bootstrap over images against scipy's, and what must hold to the last digit."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from embedshift import tables
from records import holes, records, summarised


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
    naive = summarised([row | {"image_id": str(index)} for index, row in enumerate(repeated)])
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


def test_resamples_do_not_depend_on_how_many_are_held_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    sums, counts = rng.normal(size=(50, 3)), rng.integers(0, 3, (50, 3)).astype(float)
    whole = tables.resampled_means(sums, counts, seed=1)
    monkeypatch.setattr(tables, "_CHUNK", 50 * 7)
    np.testing.assert_allclose(tables.resampled_means(sums, counts, seed=1), whole, rtol=1e-12)
    monkeypatch.setattr(tables, "_CHUNK", 1)
    np.testing.assert_allclose(tables.resampled_means(sums, counts, seed=1, resamples=20), whole[:20], rtol=1e-12)


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
