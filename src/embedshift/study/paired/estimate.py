"""`Estimate`, a number with its interval, and the estimates of paired differences: pure functions of arrays."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from embedshift.arrays import Values
from embedshift.statistics.floors import Floor
from embedshift.statistics.intervals import LEAST_IMAGES, LEVEL, of_means
from embedshift.statistics.paired_shares import difference_of_shares
from embedshift.statistics.sample import gather, of_values

Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A measured number with its 95 % interval.

    Args:
        value: The number; NaN if there is none, infinite if it lies outside the measured range.
        low: Lower end of the interval; NaN or infinite as for `value`.
        high: Upper end, likewise.
        images: Number of images behind it.
        interval_at: Function of a number of images → the interval that they would give at the same numbers. None = the
            ends approach the value with the square root of the number of images.
        edge: For an infinite value, the last number that was measured.
        note: A remark for the reader.
    """

    value: float
    low: float
    high: float
    images: int
    interval_at: Callable[[int], Interval] | None = None
    edge: float = math.nan
    note: str = ""

    def interval(self, images: int) -> Interval:
        """Returns the interval that `images` images would give."""
        if self.interval_at is not None:
            return self.interval_at(images)
        scale = math.sqrt(self.images / images)
        return self.value - (self.value - self.low) * scale, self.value + (self.high - self.value) * scale


def no_estimate(note: str = "") -> Estimate:
    """Returns the estimate of a number that does not exist."""
    return Estimate(math.nan, math.nan, math.nan, 0, note=note)


def mean_difference(sums: Values, counts: Values, seed: int) -> Estimate:
    """Returns the mean of differences with the bootstrap-t over images.

    Args:
        sums: Each image's sum of differences over its views, `[n]`.
        counts: Each image's number of views, `[n]`.
        seed: Decides the resamples.
    """
    if not len(sums):
        return no_estimate()
    sample = gather([(sums[:, None], counts[:, None])])
    low, high = of_means(sample, seed=seed)
    return Estimate(sample.mean.item(), low.item(), high.item(), len(sums))


def proportion_difference(differences: Values) -> Estimate:
    """Returns the difference of two proportions with Tango's score interval, from each image's gain of -1 to 1, `[n]`.

    Example:
        >>> estimate = proportion_difference(np.array([1.0, -1.0] + [0.0] * 198))
        >>> round(estimate.value, 3), round(estimate.low, 3)
        (0.0, -0.023)
    """
    images = len(differences)
    if not images:
        return no_estimate()
    gained, lost = (float(np.maximum(part, 0.0).mean()) for part in (differences, -differences))

    def interval_at(number: int) -> Interval:
        return difference_of_shares(gained * number, lost * number, number)

    low, high = interval_at(images) if images >= LEAST_IMAGES else (math.nan, math.nan)
    return Estimate(gained - lost, low, high, images, interval_at)


def fraction_difference(differences: Values, seed: int) -> Estimate:
    """Returns the difference of two means of numbers from 0 to 1, from each image's difference, `[n]`.

    The interval is the bootstrap-t, and at least wide enough for images that change by 1 and are too rare to occur in
    this sample (Clopper and Pearson 1934). Where too few images differ for resamples to mean anything, it is that of
    `proportion_difference`.
    """
    images = len(differences)
    score = proportion_difference(differences)
    if images < LEAST_IMAGES:
        return score
    low, high = (end.item() for end in of_means(of_values(differences[:, None]), seed=seed, low=-1.0, high=1.0))
    if math.isnan(low):
        return score
    value = float(differences.mean())
    bootstrap = Estimate(value, low, high, images)

    def interval_at(number: int) -> Interval:
        unseen = -math.expm1(math.log((1 - LEVEL) / 2) / number)
        below, above = bootstrap.interval(number)
        return max(-1.0, min(below, value - unseen)), min(1.0, max(above, value + unseen))

    return Estimate(value, *interval_at(images), images, interval_at)


def shift_contributions(values: Values, floor: Floor, no_change: float) -> Values:
    """Returns each image's contribution to a share, `[n]`; their mean is the share.

    The share (1 - m) / (1 - f) is linear in its images except for terms of the second order: image i adds to it
    (m - m_i + share · f_i) / (1 - f), where f_i is the image's contribution to the floor (the infinitesimal jackknife,
    Efron and Tibshirani 1993, chapter 22).

    Args:
        values: One value of a metric per image, in the order of the floor's groups; NaN where there is none.
        floor: An exact floor whose groups have one image each.
        no_change: The metric's value for an unchanged view.
    """
    assert floor.pairs is not None
    mean, scale = np.nanmean(values), no_change - floor.value
    share = (no_change - mean) / scale
    slope = floor.pairs.means(np.ones((1, len(values))))[1][0]
    # The slopes of all images add up to 0; those of images without a value go to the others.
    from_floor = share * len(values) * slope / scale
    from_floor = from_floor - np.mean(from_floor[~np.isnan(values)])
    return np.asarray(share + (mean - values) / scale + from_floor)


def mover(number: Sequence[float], subtracted: Sequence[float], images: int, note: str = "") -> Estimate:
    """Returns the difference of two numbers, given as value, low and high, from their intervals.

    The method is MOVER (Zou and Donner 2008, Statistics in Medicine 27: 1693-1702) and treats the two numbers as
    independent. An image that is hard for one study is usually hard for the other, so this interval is wider than a
    paired one.

    Example:
        >>> estimate = mover([5.0, 2.0, 8.0], [4.0, 0.0, 8.0], 50)
        >>> estimate.value, estimate.low, estimate.high
        (1.0, -4.0, 6.0)
    """
    (v1, l1, u1), (v0, l0, u0) = number, subtracted
    value = v1 - v0
    low, high = value - math.hypot(v1 - l1, u0 - v0), value + math.hypot(u1 - v1, v0 - l0)
    return Estimate(value, low, high, images, note=note)
