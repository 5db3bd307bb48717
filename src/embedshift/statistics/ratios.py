"""Ratios of sums over images, with intervals. The unit of resampling is the image, or its group."""

from collections.abc import Iterable, Iterator

import numpy as np

from embedshift.arrays import Units, Values
from embedshift.statistics.intervals import ends_or_nan, equal_tailed, mean_interval
from embedshift.statistics.resamples import RESAMPLES, in_standard_errors, weights
from embedshift.statistics.sample import gather


def ratio_interval(
    parts: Iterable[tuple[Values, Values]], *, seed: int, units: Units | None = None
) -> tuple[Values, Values, Values]:
    """Returns K sums over images, each divided by one sum over the same images, with 95 % intervals of these ratios."""
    kept: list[Values] = []

    def counted() -> Iterator[tuple[Values, Values]]:
        for above, below in parts:
            kept.append(below)
            yield above, np.repeat(below[:, None], above.shape[1], axis=1)

    # With denominators for counts, the mean is the ratio, and the image values are its linear approximation.
    sample = gather(counted(), together=False, units=units)
    if sample.values is None:
        return sample.mean, *mean_interval(sample, seed=seed)
    below = np.concatenate(kept)
    below = below if sample.units is None else np.bincount(sample.units, weights=below).astype(np.float64)
    size = below / (below.mean() or 1.0)
    off = np.nan_to_num(sample.values - sample.mean)
    drawn = weights(sample.images, seed=seed, resamples=RESAMPLES)
    deviations = np.vstack([_studentised(resamples, off, size, sample.error) for resamples in drawn])
    return sample.mean, *ends_or_nan(sample, *equal_tailed(sample.mean, sample.error, deviations))


def _studentised(drawn: Values, off: Values, size: Values, error: Values) -> Values:
    images = len(size)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = (drawn @ size)[:, None]
        moved = drawn @ off / total
        squares = drawn @ off**2 - 2 * moved * (drawn @ (off * size[:, None])) + moved**2 * (drawn @ size**2)[:, None]
        spread = np.sqrt(np.maximum(squares, 0.0) * images / max(1, images - 1)) / total
    # In a resample without spread, rounding would look like a tiny spread.
    t = in_standard_errors(moved, np.where(spread < 1e-6 * error, 0.0, spread), np.nan_to_num(error))
    return np.where(np.isnan(t), 0.0, t)
