"""Bootstrap resamples: the law of the draws, and that they are the same however they are made."""

import numpy as np

from embedshift.statistics import sample as resamples
from embedshift.statistics.sample import estimates_from_values


def test_weights_are_multinomial():
    images, count = 25, 40_000
    weights = np.vstack(list(resamples.weights(images, seed=1, resamples=count)))
    assert (weights.sum(axis=1) == images).all()
    assert (weights == weights.astype(int)).all()
    error = 6 / np.sqrt(count)
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=error)
    np.testing.assert_allclose(np.cov(weights.T), np.eye(images) - 1 / images, atol=2 * error)
    np.testing.assert_allclose((weights == 0).mean(axis=0), (1 - 1 / images) ** images, atol=error)


def test_chunks_of_resamples_do_not_change_them(monkeypatch):
    whole = np.vstack(list(resamples.weights(10, seed=2, resamples=50)))
    monkeypatch.setattr(resamples, "_CHUNK", 70)
    parts = list(resamples.weights(10, seed=2, resamples=50))
    assert len(parts) == 8
    np.testing.assert_array_equal(np.vstack(parts), whole)


def test_resamples_of_different_columns_are_paired():
    values = np.random.default_rng(0).normal(size=(30, 1))
    one, _ = estimates_from_values(values).resampled(seed=5, resamples=100)
    both, _ = estimates_from_values(np.hstack([values**2, 3 * values + 1])).resampled(seed=5, resamples=100)
    np.testing.assert_allclose(both[:, 1], 3 * one[:, 0] + 1, rtol=1e-10)


def test_kept_draws_cannot_be_changed_by_who_takes_them():
    (first,) = resamples.weights(7, seed=4, resamples=20)
    assert not first.flags.writeable
    rng = np.random.default_rng(4)
    slow = [np.bincount(rng.integers(7, size=7), minlength=7) for _ in range(20)]
    np.testing.assert_array_equal(first, slow)
