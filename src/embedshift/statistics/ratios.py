"""Ratios of sums over images, with intervals. The unit of resampling is the image."""

from collections.abc import Iterable, Iterator

import numpy as np

from embedshift.arrays import Values
from embedshift.statistics.intervals import equal_tailed, known, of_means
from embedshift.statistics.resamples import RESAMPLES, over, weights
from embedshift.statistics.sample import gather


def of_ratios(parts: Iterable[tuple[Values, Values]], *, seed: int) -> tuple[Values, Values, Values]:
    """Returns K sums over images, each divided by one sum over the same images, with 95 % intervals of these ratios.

    An image counts as much as its denominator, so that an image with almost none cannot make a ratio noisy. The
    interval is the bootstrap-t over images: numerators and denominator are resampled together, and each resample counts
    in its own standard error, by the delta method. Above `IN_MEMORY` images the interval is that of the normal law.

    Args:
        parts: For some images at a time, numerators `[b, K]` and denominators `[b]`, 0 or more; an image whose
            denominator is 0 has numerators of 0.
        seed: Decides the resamples.

    Returns:
        The ratios, and the lower and upper ends of their intervals, `[K]` each. A ratio is NaN if all denominators are
        0; an end is NaN if fewer than `LEAST_IMAGES` images have a denominator.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> whole = rng.uniform(1, 2, 50)
        >>> half = whole * rng.normal(0.5, 0.1, 50)
        >>> [round(each.item(), 2) for each in of_ratios([(half[:, None], whole)], seed=0)]
        [0.51, 0.48, 0.54]
    """
    kept: list[Values] = []

    def counted() -> Iterator[tuple[Values, Values]]:
        for above, below in parts:
            kept.append(below)
            yield above, np.repeat(below[:, None], above.shape[1], axis=1)

    # With denominators for counts, the mean is the ratio, and the image values are its linear approximation.
    sample = gather(counted(), together=False)
    if sample.values is None:
        return sample.mean, *of_means(sample, seed=seed)
    below = np.concatenate(kept)
    share = below / (below.mean() or 1.0)
    off = np.nan_to_num(sample.values - sample.mean)
    drawn = weights(sample.images, seed=seed, resamples=RESAMPLES)
    deviations = np.vstack([_studentised(each, off, share, sample.error) for each in drawn])
    return sample.mean, *known(sample, *equal_tailed(sample.mean, sample.error, deviations))


def _studentised(drawn: Values, off: Values, share: Values, error: Values) -> Values:
    """Returns deviations of resampled ratios in their own standard errors, `[R, K]`.

    Args:
        drawn: How often each image is drawn, `[R, n]`.
        off: Each image's contribution to a ratio's deviation, `[n, K]`: numerator minus ratio times denominator.
        share: Each image's denominator divided by their mean, `[n]`.
        error: Standard errors of the ratios, `[K]`.
    """
    images = len(share)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = (drawn @ share)[:, None]
        moved = drawn @ off / total
        squares = drawn @ off**2 - 2 * moved * (drawn @ (off * share[:, None])) + moved**2 * (drawn @ share**2)[:, None]
        spread = np.sqrt(np.maximum(squares, 0.0) * images / max(1, images - 1)) / total
    # In a resample without spread, rounding would look like a tiny spread.
    t = over(moved, np.where(spread < 1e-6 * error, 0.0, spread), np.nan_to_num(error))
    return np.where(np.isnan(t), 0.0, t)
