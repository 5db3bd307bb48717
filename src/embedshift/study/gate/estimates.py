"""Differences from the numbers of two studies of the same images, with their intervals: pure functions of arrays."""

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
    """The difference of two shares, by Tango's score interval.

    Args:
        apart: What each image gained, from -1 to 1 `[n]`.

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
    """The difference of two means of numbers from 0 to 1.

    Bootstrap-t, and at least as wide as a change by 1 of images that are so few that none was met among these (Clopper
    and Pearson 1934). Where so few images differ that resamples say nothing, as `of_shares`.

    Args:
        apart: What each image gained, from -1 to 1 `[n]`.
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
    """What every image adds to a share `[n]`, whose mean is the share.

    The share (1 - m) / (1 - f) is linear in its images but for terms of the second order: image i adds to it
    (m - m_i + share · f_i) / (1 - f), where f_i is what the image adds to the floor (the infinitesimal jackknife, Efron
    and Tibshirani 1993, chapter 22).

    Args:
        values: Of a metric, one an image, in the order of the floor's groups; NaN where there is none.
        floor: Exact, of groups of one image.
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
    """The difference of two numbers, from their intervals (Zou and Donner 2008, Statistics in Medicine 27: 1693-1702).

    As if the two were of other images: an image that is hard for both moves both, so that the interval is wider than a
    paired one.

    Args:
        own: Value and ends of its interval.
        other: The same of the number that is taken away.
        images: How many images they are of.

    Example:
        >>> found = mover([5.0, 2.0, 8.0], [4.0, 0.0, 8.0], 50)
        >>> found.value, found.low, found.high
        (1.0, -4.0, 6.0)
    """
    (v1, l1, u1), (v0, l0, u0) = own, other
    value = v1 - v0
    return Estimate(value, value - math.hypot(v1 - l1, u0 - v0), value + math.hypot(u1 - v1, v0 - l0), images)
