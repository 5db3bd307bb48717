"""Intervals of means, proportions, ratios, and of several numbers at once, from a sample of images or of their groups.

Means have Efron's bootstrap-t: each resample's deviation counts in its own standard error, so that skewed and small
samples are covered. Proportions have Clopper and Pearson's interval at the effective number of values. Several numbers
that are compared share one critical value, that of the largest of all deviations (max-T).
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import GroupNumbers, Values
from embedshift.statistics.sample import (
    RESAMPLES,
    RESAMPLES_OF_MANY,
    Estimates,
    estimates_from_values,
    gather,
    in_standard_errors,
    weights,
)

# Below this number of images, or of groups of images, there is no interval, and no sentence that ranks.
LEAST_IMAGES = 8
# Below this number the report says that intervals are approximate.
APPROXIMATE_BELOW = 20
CONFIDENCE = 0.95
# The half-width in standard errors of the interval of one number.
OF_ONE = float(scipy.special.ndtri((1 + CONFIDENCE) / 2))
# In standard errors. If 5 % of the resamples deviate by more, most of them have hardly any spread.
_FURTHEST = 10.0


def mean_interval(
    sample: Estimates, *, seed: int, low: ArrayLike = -np.inf, high: ArrayLike = np.inf, level: float = CONFIDENCE
) -> tuple[Values, Values]:
    """Returns separate intervals of means: bootstrap-t, or Student's if the values are not in memory.

    Args:
        sample: A sample of K numbers.
        seed: Decides the resamples.
        low: The least possible values `[K]`, which bound the intervals.
        high: The greatest possible values `[K]`.
        level: Their confidence; each end of an interval at 90 % holds alone at 95 %.

    Returns:
        Lower and upper ends, `[K]` each; NaN if fewer than `LEAST_IMAGES` images, or groups, have a value, or if too
        few values differ.

    Example:
        >>> from embedshift.statistics.sample import estimates_from_values
        >>> ends = mean_interval(estimates_from_values(np.arange(20.0)[:, None]), seed=0)
        >>> [round(end.item(), 1) for end in ends]
        [6.9, 12.4]
    """
    least, most = (np.broadcast_to(np.asarray(bound, np.float64), sample.mean.shape) for bound in (low, high))
    ends = _bootstrap_t(sample, seed, level)
    for columns, part in sample.incomplete_columns(LEAST_IMAGES):
        for end, column_end in zip(ends, _bootstrap_t(part, seed, level), strict=True):
            end[columns] = column_end + (sample.mean[columns] - part.mean)
    below, above = ends_or_nan(sample, *ends)
    return np.maximum(below, least), np.minimum(above, most)


def _bootstrap_t(sample: Estimates, seed: int, level: float) -> tuple[Values, Values]:
    """Returns the ends of the intervals of means; infinite if they cannot be computed."""
    if not sample.in_memory:
        margin = scipy.special.stdtrit(np.maximum(sample.having - 1, 1), (1 + level) / 2) * sample.error
        return sample.mean - margin, sample.mean + margin
    return equal_tailed(sample.mean, sample.error, sample.studentised(seed=seed, resamples=RESAMPLES), level)


def equal_tailed(value: Values, error: Values, deviations: Values, level: float = CONFIDENCE) -> tuple[Values, Values]:
    """Returns the ends of the bootstrap-t from deviations in standard errors; the value itself if it has no error.

    Args:
        value: The means, `[K]`.
        error: Their standard errors, `[K]`.
        deviations: Deviations of the resamples, `[R, K]`.
        level: Their confidence.

    Example:
        >>> ends = equal_tailed(np.array([5.0]), np.array([2.0]), np.array([[-1.0], [0.0], [1.5]]))
        >>> [end.item() for end in ends]
        [2.0, 7.0]
    """
    tail = (1 - level) / 2
    above = np.quantile(deviations, 1 - tail, axis=0, method="higher")
    below = np.quantile(deviations, tail, axis=0, method="lower")
    with np.errstate(invalid="ignore"):
        low, high = (np.where(error > 0, value - deviation * error, value) for deviation in (above, below))
    return low, high


def ends_or_nan(sample: Estimates, low: Values, high: Values) -> tuple[Values, Values]:
    """Replaces ends of intervals by NaN if there are too few images or an end is infinite."""
    present = (sample.having >= LEAST_IMAGES) & np.isfinite(low) & np.isfinite(high)
    return np.where(present, low, np.nan), np.where(present, high, np.nan)


def bounded(drawn: Values) -> NDArray[np.bool_]:
    """Returns whether the resamples allow a simultaneous interval: `[R, J]` → bool `[J]`.

    A number that differs in only one of many images has resamples with no or almost no spread. Its deviations would be
    the largest of all, and no other number could be significant.

    Example:
        >>> bounded(np.array([[1.0, 1.0], [2.0, np.inf]])).tolist()
        [True, False]
    """
    # As the quantile "higher" of the sizes, which sorts them, is at most `_FURTHEST`.
    least = math.ceil(CONFIDENCE * (len(drawn) - 1)) + 1
    return np.asarray((np.abs(drawn) <= _FURTHEST).sum(axis=0) >= least)


def proportion_interval(sample: Estimates) -> tuple[Values, Values]:
    """Returns 95 % intervals of proportions, by Clopper and Pearson at the effective number of values.

    The effective number is p (1 - p) divided by the variance of the mean between images (Korn and Graubard 1998), at
    most the number of values. It is the number of images for one draw, and if all values are equal.

    Args:
        sample: A sample of K numbers whose values are 0 or 1.

    Returns:
        Lower and upper ends, `[K]` each; NaN if fewer than `LEAST_IMAGES` images, or groups, have a value.

    Example:
        >>> from embedshift.statistics.sample import estimates_from_values
        >>> [round(end.item(), 3) for end in proportion_interval(estimates_from_values(np.zeros((50, 1))))]
        [0.0, 0.071]
    """
    p, n = np.clip(sample.mean, 0.0, 1.0), sample.having
    tail = (1 - CONFIDENCE) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        # Image values of images that have none are the mean: their variance is that of those that have one, n / having.
        variance = sample.variance * (sample.group_count - 1) / sample.group_count / sample.group_count
        effective = p * (1 - p) / variance
        t = scipy.special.stdtrit(sample.counts - 1, 1 - tail) / scipy.special.stdtrit(n - 1, 1 - tail)
        effective = np.where(sample.counts > n, effective * t**2, n)
        effective = np.where((sample.variance > 0) & np.isfinite(effective), np.minimum(effective, sample.counts), n)
        successes = p * effective
    return ends_or_nan(sample, *clopper_pearson(successes, effective))


def clopper_pearson(successes: ArrayLike, number: ArrayLike) -> tuple[Values, Values]:
    """Returns Clopper and Pearson's 95 % interval of a proportion; the numbers need not be integers.

    Args:
        successes: How many of the values are 1.
        number: Number of values, above 0.

    Example:
        >>> [round(end.item(), 3) for end in clopper_pearson(10, 10)]
        [0.692, 1.0]
    """
    x, n, tail = np.asarray(successes, np.float64), np.asarray(number, np.float64), (1 - CONFIDENCE) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(x > 0, scipy.special.betaincinv(x, n - x + 1, tail), 0.0)
        high = np.where(x < n, scipy.special.betaincinv(x + 1, n - x, 1 - tail), 1.0)
    return low, high


def difference_of_proportions(
    gained: ArrayLike, lost: ArrayLike, number: ArrayLike, z: float = OF_ONE
) -> tuple[Values, Values]:
    """Returns Tango's score intervals (1998) of differences of paired proportions; the numbers need not be integers.

    Args:
        gained: How many images only the first finds, `[J]`.
        lost: How many images only the second finds.
        number: Number of images, above 0; NaN gives NaN.
        z: The critical value; 1.96 gives 95 %.

    Example:
        >>> [round(end.item(), 3) for end in difference_of_proportions(1, 7, 21)]
        [-0.517, -0.026]
    """
    b, c, n = np.broadcast_arrays(*(np.asarray(each, np.float64) for each in (gained, lost, number)))
    ends = _upper_difference(np.stack([c, b]), np.stack([b, c]), n, z)
    return -ends[0], ends[1]


def _upper_difference(gained: Values, lost: Values, number: Values, z: float) -> Values:
    gap, slope, squared = gained - lost, 2 * number - gained + lost, z**2
    value, four, eight = gap / number, 4 * number, 8 * number

    def is_within(difference: Values) -> NDArray[np.bool_]:
        linear, rest = slope * difference - gained - lost, 1 - difference
        q = (np.sqrt(np.maximum(0.0, linear**2 + eight * (lost * difference * rest))) - linear) / four
        variance = number * (2 * q + difference * rest)
        return np.asarray((gap - number * difference) ** 2 < squared * variance)

    # Bisection to the last digit: SciPy's would import all of its optimisers.
    low, high = value, np.where(np.isnan(value), np.nan, 1.0)
    for _ in range(60):
        middle = (low + high) / 2
        inside = is_within(middle)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.asarray(np.where(value >= 1, 1.0, high))


def holm(p: ArrayLike) -> Values:
    """Returns p-values adjusted for all of them, of the same shape (Holm 1979)."""
    values = np.asarray(p, np.float64)
    order = np.argsort(values, axis=None, kind="stable")
    adjusted = np.empty(values.size)
    adjusted[order] = np.maximum.accumulate(values.ravel()[order] * np.arange(values.size, 0, -1))
    return np.minimum(adjusted, 1.0).reshape(values.shape)


def jackknife_interval(
    full: Values, without: Iterable[Values], *, ratios: Values | None = None, deciding: bool = False
) -> tuple[Values, Values]:
    """Returns 95 % intervals of numbers of a set by the jackknife: Student's t with B - 1 degrees for B parts.

    Args:
        full: The numbers of the full set, `[...]`.
        without: For each part, the numbers of the set without it, `[...]`.
        ratios: For each part, how many times as much is kept as is left out, `[B]` (Busing, Meijer and van der Leeden
            1999); None = parts are equal.
        deciding: Whether as many degrees count as parts decide the error, (Σ d²)² / Σ d⁴ for deviations d.

    Returns:
        Lower and upper ends, `[...]` each; NaN for one part, or none.

    Example:
        >>> parts = np.arange(8.0)
        >>> ends = jackknife_interval(parts.mean(), (np.delete(parts, part).mean() for part in range(8)))
        >>> [round(end.item(), 3) for end in ends]
        [1.452, 5.548]
    """
    parts, shape = [*without], (-1, *[1] * np.ndim(full))
    if (count := len(parts)) < 2:
        return np.full(np.shape(full), np.nan), np.full(np.shape(full), np.nan)
    off = np.stack(parts) - full
    kept = np.reshape(count - 1.0 if ratios is None else ratios, shape)
    squares = (kept * off - (kept * off).mean(axis=0)) ** 2 / kept
    degrees = squares.sum(axis=0) ** 2 / np.square(squares).sum(axis=0) if deciding else count - 1
    margin = scipy.special.stdtrit(degrees, (1 + CONFIDENCE) / 2) * np.sqrt(squares.mean(axis=0))
    return np.asarray(full - margin), np.asarray(full + margin)


@dataclass(frozen=True)
class SimultaneousIntervals:
    """Several numbers compared with 0 at once.

    Args:
        low: Lower ends of the simultaneous 95 % intervals, `[K]`; NaN if there are too few images, or groups.
        high: Upper ends, `[K]`.
        significant: Whether the interval excludes 0, bool `[K]`.
    """

    low: Values
    high: Values
    significant: NDArray[np.bool_]


def simultaneous_intervals(
    sample: Estimates, *, seed: int, resamples: int = RESAMPLES_OF_MANY
) -> SimultaneousIntervals:
    """Returns simultaneous 95 % intervals of means, which hold all at once (studentised bootstrap, max-T).

    A number whose resamples have almost no spread gets no interval and does not affect the others (see `bounded`).

    Args:
        sample: A sample of K numbers, such as the paired differences of all pairs.
        seed: Decides the resamples.
        resamples: Number of resamples.

    Example:
        >>> from embedshift.statistics.sample import estimates_from_values
        >>> rng = np.random.default_rng(0)
        >>> sample = estimates_from_values(rng.normal([0.0, 3.0], 1.0, (50, 2)))
        >>> simultaneous_intervals(sample, seed=0).significant.tolist()
        [False, True]
    """
    present = (sample.having >= LEAST_IMAGES) & np.isfinite(sample.mean)
    if not present.any():
        nothing = np.full(len(sample.mean), np.nan)
        return SimultaneousIntervals(nothing, nothing, np.zeros(len(nothing), bool))
    columns = np.flatnonzero(present)
    t = np.abs(sample.columns(columns).studentised(seed=seed, resamples=resamples))
    is_bounded = bounded(t)
    critical = np.full(len(present), np.inf)
    if is_bounded.any():
        critical[columns[is_bounded]] = np.quantile(t[:, is_bounded].max(axis=1), CONFIDENCE, method="higher")
    with np.errstate(invalid="ignore"):
        margin = np.where(sample.error > 0, critical * sample.error, 0.0)
        low, high = ends_or_nan(sample, sample.mean - margin, sample.mean + margin)
        return SimultaneousIntervals(low, high, (low > 0) | (high < 0))


def critical_value(sample: Estimates, *, seed: int) -> float:
    """Returns the half-width of the simultaneous intervals of a sample in standard errors; NaN if there are none."""
    ends = simultaneous_intervals(sample, seed=seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        widths = (ends.high - ends.low) / 2 / sample.error
    return float(np.median(widths[np.isfinite(widths) & (widths > 0)])) if (widths > 0).any() else math.nan


def bounded_interval(
    values: Values, least: float, most: float, *, seed: int, groups: GroupNumbers | None = None
) -> tuple[Values, Values]:
    """Returns 95 % intervals of means of bounded values, none of zero width: bootstrap-t if enough images differ.

    If fewer than 8 images differ from the usual value (the median), the proportions of images below and above it are at
    most the upper ends of Clopper and Pearson's intervals, and these images have the least and greatest value at worst.

    Args:
        values: One per image `[n, K]`, NaN if there is none.
        least: The least possible value.
        most: The greatest possible value.
        seed: Decides the resamples.
        groups: The group of each image; None = images are independent.

    Returns:
        Lower and upper ends, `[K]` each; NaN for fewer than 8 images, or groups, that have a value.

    Example:
        >>> [round(end.item(), 3) for end in bounded_interval(np.zeros((50, 1)), -1.0, 1.0, seed=0)]
        [-0.071, 0.071]
    """
    low, high = mean_interval(estimates_from_values(values, groups), seed=seed, low=least, high=most)
    nothing = np.isnan(values)
    usual = np.nanmedian(np.where(nothing.all(axis=0), 0.0, values), axis=0)
    below, above = (
        proportion_interval(estimates_from_values(np.where(nothing, np.nan, off), groups))[1]
        for off in (values < usual, values > usual)
    )
    differ = estimates_from_values(np.where(~nothing & (values != usual), 1.0, np.nan), groups).having
    has_bootstrap = (differ >= LEAST_IMAGES) & (high > low)
    return (
        np.where(has_bootstrap, low, usual - below * (usual - least)),
        np.where(has_bootstrap, high, usual + above * (most - usual)),
    )


def ratio_interval(
    parts: Iterable[tuple[Values, Values]], *, seed: int, groups: GroupNumbers | None = None
) -> tuple[Values, Values, Values]:
    """Returns K sums over images, each divided by one sum over the same images, with 95 % intervals of these ratios."""
    kept: list[Values] = []

    def counted() -> Iterator[tuple[Values, Values]]:
        for above, below in parts:
            kept.append(below)
            yield above, np.repeat(below[:, None], above.shape[1], axis=1)

    # With denominators for counts, the mean is the ratio, and the image values are its linear approximation.
    sample = gather(counted(), together=False, groups=groups)
    if not sample.in_memory:
        return sample.mean, *mean_interval(sample, seed=seed)
    below = np.concatenate(kept)
    below = below if sample.groups is None else np.bincount(sample.groups, weights=below).astype(np.float64)
    size = below / (below.mean() or 1.0)
    off = np.nan_to_num(sample.values - sample.mean)
    drawn = weights(sample.group_count, seed=seed, resamples=RESAMPLES)
    deviations = np.vstack([_studentised_ratios(resamples, off, size, sample.error) for resamples in drawn])
    return sample.mean, *ends_or_nan(sample, *equal_tailed(sample.mean, sample.error, deviations))


def _studentised_ratios(drawn: Values, off: Values, size: Values, error: Values) -> Values:
    images = len(size)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = (drawn @ size)[:, None]
        moved = drawn @ off / total
        squares = drawn @ off**2 - 2 * moved * (drawn @ (off * size[:, None])) + moved**2 * (drawn @ size**2)[:, None]
        spread = np.sqrt(np.maximum(squares, 0.0) * images / max(1, images - 1)) / total
    # In a resample without spread, rounding would look like a tiny spread.
    t = in_standard_errors(moved, np.where(spread < 1e-6 * error, 0.0, spread), np.nan_to_num(error))
    return np.where(np.isnan(t), 0.0, t)
