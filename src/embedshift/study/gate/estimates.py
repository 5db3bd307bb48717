"""Differences between two studies of the same images, with intervals: pure functions of arrays."""

import math
from collections.abc import Sequence

import numpy as np

from embedshift.arrays import Values
from embedshift.statistics.floors import Floor
from embedshift.statistics.intervals import LEAST_IMAGES, LEVEL, of_means
from embedshift.statistics.paired_shares import difference_of_shares
from embedshift.statistics.sample import of_values
from embedshift.study.gate.decision import Estimate


def of_shares(apart: Values) -> Estimate:
    """Returns the difference of two proportions with Tango's score interval.

    Args:
        apart: What each image gained, from -1 to 1, `[n]`.

    Example:
        >>> found = of_shares(np.array([1.0, -1.0] + [0.0] * 198))
        >>> round(found.value, 3), round(found.low, 3)
        (0.0, -0.023)
    """
    images = len(apart)
    if not images:
        return Estimate(math.nan, math.nan, math.nan, 0)
    gained, lost = float(np.maximum(apart, 0.0).mean()), float(np.maximum(-apart, 0.0).mean())

    def at(number: int) -> tuple[float, float]:
        return difference_of_shares(gained * number, lost * number, number)

    low, high = at(images) if images >= LEAST_IMAGES else (math.nan, math.nan)
    return Estimate(gained - lost, low, high, images, at)


def by_degrees(apart: Values, seed: int) -> Estimate:
    """Returns the difference of two means of numbers from 0 to 1, with its interval.

    The interval is the bootstrap-t, and at least wide enough for images that change by 1 and are too rare to occur in
    this sample (Clopper and Pearson 1934). Where too few images differ for resamples to mean anything, `of_shares`
    gives the interval.

    Args:
        apart: What each image gained, from -1 to 1, `[n]`.
        seed: Decides the resamples.

    Example:
        >>> found = by_degrees(np.zeros(100), seed=0)
        >>> round(found.high, 3)
        0.036
    """
    images = len(apart)
    whole = of_shares(apart)
    if images < LEAST_IMAGES:
        return whole
    low, high = (end.item() for end in of_means(of_values(apart[:, None]), seed=seed, low=-1.0, high=1.0))
    if math.isnan(low):  # so few images differ that resamples say nothing
        return whole
    value = float(apart.mean())
    found = Estimate(value, low, high, images)

    def at(number: int) -> tuple[float, float]:
        unseen = -math.expm1(math.log((1 - LEVEL) / 2) / number)
        below, above = found.ends(number)
        return max(-1.0, min(below, value - unseen)), min(1.0, max(above, value + unseen))

    return Estimate(value, *at(images), images, at)


def linearised(values: Values, floor: Floor, no_change: float) -> Values:
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
    added = share * len(values) * slope / scale
    added = added - np.mean(added[~np.isnan(values)])
    return np.asarray(share + (mean - values) / scale + added)


def mover(own: Sequence[float], other: Sequence[float], images: int) -> Estimate:
    """Returns the difference of two numbers, from their intervals.

    The method is MOVER (Zou and Donner 2008, Statistics in Medicine 27: 1693-1702) and treats the two numbers as
    independent. An image that is hard for one study is usually hard for the other, so this interval is wider than a
    paired one.

    Args:
        own: Value, lower end and upper end.
        other: The same of the number that is subtracted.
        images: Number of images behind them.

    Example:
        >>> found = mover([5.0, 2.0, 8.0], [4.0, 0.0, 8.0], 50)
        >>> found.value, found.low, found.high
        (1.0, -4.0, 6.0)
    """
    (v1, l1, u1), (v0, l0, u0) = own, other
    value = v1 - v0
    return Estimate(value, value - math.hypot(v1 - l1, u0 - v0), value + math.hypot(u1 - v1, v0 - l0), images)
