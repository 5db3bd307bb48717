"""Bootstrap resamples of a study's images: how often each is drawn, and the means that follow."""

import functools
from collections.abc import Iterator

import numpy as np

from embedshift.arrays import Values
from embedshift.statistics.sample import Estimates

# Of one interval; and where the largest of many deviations counts, whose tail is thinner.
RESAMPLES, RESAMPLES_OF_MANY = 2_000, 9_999
# Numbers of one chunk of resamples in memory.
_CHUNK = 2**21


def weights(count: int, *, seed: int, resamples: int) -> Iterator[Values]:
    """Yields how often each of `count` items is drawn in resamples, some resamples at a time: `[r, count]`."""
    if resamples * count <= _CHUNK:
        yield _kept_weights(count, seed, resamples)
    else:
        yield from _drawn_weights(count, seed, resamples)


# Every table of a study draws the same.
@functools.lru_cache(maxsize=2)
def _kept_weights(count: int, seed: int, resamples: int) -> Values:
    (drawn,) = _drawn_weights(count, seed, resamples)
    drawn.setflags(write=False)
    return drawn


def _drawn_weights(count: int, seed: int, resamples: int) -> Iterator[Values]:
    rng, step = np.random.default_rng(seed), max(1, _CHUNK // count)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count).astype(np.float64)


def resampled(sample: Estimates, *, seed: int, resamples: int) -> tuple[Values, Values]:
    """Returns means of resamples of the images, and their standard errors, `[resamples, K]` each."""
    mean, error = np.nan_to_num(sample.mean), np.nan_to_num(sample.error)
    if sample.values is None:
        return mean + _normal(sample, seed, resamples) * error, np.tile(error, (resamples, 1))
    off = np.nan_to_num(sample.values) - mean
    squares, n = off**2, sample.images
    means, errors = (np.empty((resamples, len(mean))) for _ in range(2))
    tiny, start = 1e-12 * (sample.variance + 1e-300), 0
    for drawn in weights(n, seed=seed, resamples=resamples):
        end = start + len(drawn)
        np.divide(drawn @ off, n, out=means[start:end])
        spread = drawn @ squares
        spread /= n
        spread -= means[start:end] ** 2
        # A resample of equal values has no spread; its rounding would look like a tiny spread.
        spread[~(spread > tiny)] = 0.0
        np.sqrt(spread / max(1, n - 1), out=errors[start:end])
        start = end
    means += mean
    return means, errors


def _normal(sample: Estimates, seed: int, resamples: int) -> Values:
    """Draws deviations in standard errors from the normal law, `[resamples, K]`."""
    if sample.covariance is None:
        raise ValueError("more images than are kept in memory, and no covariance of their numbers")
    error = np.sqrt(np.diag(np.nan_to_num(sample.covariance)))
    scale = np.where(error > 0, error, 1.0)
    values, vectors = np.linalg.eigh(np.nan_to_num(sample.covariance) / np.outer(scale, scale))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(np.random.default_rng(seed).standard_normal((resamples, len(root))) @ root.T)


def studentised(sample: Estimates, *, seed: int, resamples: int) -> Values:
    """Returns deviations of the resampled means from the sample's, each in its own standard error, `[resamples, K]`."""
    if sample.values is None:
        return _normal(sample, seed, resamples)
    means, errors = resampled(sample, seed=seed, resamples=resamples)
    return in_standard_errors(means - np.nan_to_num(sample.mean), errors, np.nan_to_num(sample.error))


def in_standard_errors(deviations: Values, errors: Values, scale: Values) -> Values:
    """Divides deviations by standard errors; a deviation that is only rounding relative to `scale` becomes 0."""
    real = (np.abs(deviations) > 1e-12 * scale) & (scale > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(deviations, errors, out=np.zeros_like(deviations), where=real)
