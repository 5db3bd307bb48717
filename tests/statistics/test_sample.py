"""Samples of images: means over views, image values, what a stream leaves of them, and their bootstrap samples."""

import numpy as np
import pytest

from embedshift.statistics import sample as samples
from embedshift.statistics.sample import estimates_from_values, gather


def parts_of(values, size):
    """Values `[n, draws, K]` as a stream of sums and counts."""
    there = ~np.isnan(values)
    sums, counts = np.where(there, values, 0.0).sum(axis=1), there.sum(axis=1).astype(float)
    return [(sums[start : start + size], counts[start : start + size]) for start in range(0, len(sums), size)]


def made(n=60, draws=3, k=4, holes=0.0, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(1000.0, 1.0, (n, 1, k)) + rng.lognormal(0, 1, (n, draws, k))
    return np.where(rng.random(values.shape) < holes, np.nan, values)


@pytest.mark.parametrize("holes", [0.0, 0.2, 0.9])
def test_means_are_over_all_values_and_the_error_is_that_of_a_ratio(holes):
    values = made(holes=holes)
    found = gather(parts_of(values, 7))
    for k in range(values.shape[2]):
        there = ~np.isnan(values[:, :, k])
        sums, counts = np.nansum(values[:, :, k], axis=1), there.sum(axis=1)
        assert found.mean[k] == pytest.approx(sums.sum() / counts.sum(), rel=1e-14)
        assert found.having[k] == (counts > 0).sum()
        assert found.counts[k] == counts.sum()
        # The textbook's variance of a ratio of two means (Cochran 1977, 6.4).
        residuals = sums - found.mean[k] * counts
        variance = (residuals**2).sum() / (len(sums) - 1) / len(sums) / counts.mean() ** 2
        assert found.error[k] == pytest.approx(np.sqrt(variance), rel=1e-9)
    np.testing.assert_allclose(found.values.mean(axis=0), found.mean, rtol=1e-12)


def test_without_holes_image_values_are_the_means_over_draws():
    values = made()
    np.testing.assert_allclose(gather(parts_of(values, 9)).values, values.mean(axis=1), rtol=1e-12)


@pytest.mark.parametrize("holes", [0.0, 0.3])
@pytest.mark.parametrize("together", [True, False])
def test_above_the_limit_moments_give_what_values_gave(monkeypatch, holes, together):
    values = made(n=80, holes=holes)
    inside = gather(parts_of(values, 7), chunks=[30, 50])
    monkeypatch.setattr(samples, "IN_MEMORY", 20)
    above = gather(parts_of(values, 7), together=together, chunks=[30, 50])
    assert not above.in_memory
    assert above.group_count == inside.group_count == 80
    for name in ("mean", "variance", "having", "counts", "chunked"):
        np.testing.assert_allclose(getattr(above, name), getattr(inside, name), rtol=1e-8, err_msg=name)
    if together:
        np.testing.assert_allclose(above.spread.matrix, np.cov(inside.values.T), rtol=1e-6, atol=1e-9)
        weights = np.array([[1.0, 0.5], [-1.0, 0.5], [0, 0], [0, -1.0]])
        one, other = above.combine(weights), inside.combine(weights)
        np.testing.assert_allclose(one.mean, other.mean, rtol=1e-10)
        np.testing.assert_allclose(one.variance, other.variance, rtol=1e-6)
    else:
        with pytest.raises(ValueError, match="need image values or their covariance"):
            above.combine(np.eye(4))


def test_combinations_are_paired_and_miss_what_is_missing():
    values = np.random.default_rng(0).normal(size=(30, 3))
    values[:, 2] = np.nan
    found = estimates_from_values(values).combine([[1.0, 1.0], [-1.0, 0.0], [0.0, 1.0]])
    difference = values[:, 0] - values[:, 1]
    assert found.mean[0] == pytest.approx(difference.mean(), rel=1e-12)
    assert found.variance[0] == pytest.approx(difference.var(ddof=1), rel=1e-12)
    assert np.isnan(found.mean[1])
    assert found.having.tolist() == [30, 0]


def test_chunks_add_up_image_values():
    values = made(n=12, draws=2, holes=0.1)
    found = gather(parts_of(values, 5), chunks=[3, 4, 5])
    for chunk, part in enumerate((slice(0, 3), slice(3, 7), slice(7, 12))):
        np.testing.assert_allclose(found.chunked[chunk], found.values[part].sum(axis=0), rtol=1e-12)


def test_rounding_is_no_variance():
    values = np.full((10, 1), 0.1 + 0.2)
    values[3] = 0.3
    assert estimates_from_values(values).variance[0] == 0


def test_one_image_has_no_error():
    assert np.isnan(estimates_from_values([[1.0]]).error[0])


def test_weights_are_multinomial():
    images, count = 25, 40_000
    weights = np.vstack(list(samples.weights(images, seed=1, resamples=count)))
    assert (weights.sum(axis=1) == images).all()
    assert (weights == weights.astype(int)).all()
    error = 6 / np.sqrt(count)
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=error)
    np.testing.assert_allclose(np.cov(weights.T), np.eye(images) - 1 / images, atol=2 * error)
    np.testing.assert_allclose((weights == 0).mean(axis=0), (1 - 1 / images) ** images, atol=error)


def test_chunks_of_resamples_do_not_change_them(monkeypatch):
    whole = np.vstack(list(samples.weights(10, seed=2, resamples=50)))
    monkeypatch.setattr(samples, "_CHUNK", 70)
    parts = list(samples.weights(10, seed=2, resamples=50))
    assert len(parts) == 8
    np.testing.assert_array_equal(np.vstack(parts), whole)


def test_resamples_of_different_columns_are_paired():
    values = np.random.default_rng(0).normal(size=(30, 1))
    one, _ = estimates_from_values(values).resampled(seed=5, resamples=100)
    both, _ = estimates_from_values(np.hstack([values**2, 3 * values + 1])).resampled(seed=5, resamples=100)
    np.testing.assert_allclose(both[:, 1], 3 * one[:, 0] + 1, rtol=1e-10)


def test_kept_draws_cannot_be_changed_by_who_takes_them():
    (first,) = samples.weights(7, seed=4, resamples=20)
    assert not first.flags.writeable
    rng = np.random.default_rng(4)
    slow = [np.bincount(rng.integers(7, size=7), minlength=7) for _ in range(20)]
    np.testing.assert_array_equal(first, slow)
