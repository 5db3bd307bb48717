"""Differences between two studies of the same images, with intervals: pure functions of arrays."""

import math
from collections.abc import Sequence

import numpy as np

from embedshift.arrays import Values
from embedshift.statistics.baselines import Baseline
from embedshift.statistics.intervals import LEAST_IMAGES, LEVEL, mean_interval
from embedshift.statistics.paired_proportions import difference_of_relative_shifts
from embedshift.statistics.sample import of_values
from embedshift.study.gate.decision import Estimate


def proportion_interval(apart: Values) -> Estimate:
    """Returns the difference of two proportions with Tango's score interval."""
    images = len(apart)
    if not images:
        return Estimate(math.nan, math.nan, math.nan, 0)
    gained, lost = float(np.maximum(apart, 0.0).mean()), float(np.maximum(-apart, 0.0).mean())

    def at(number: int) -> tuple[float, float]:
        return difference_of_relative_shifts(gained * number, lost * number, number)

    low, high = at(images) if images >= LEAST_IMAGES else (math.nan, math.nan)
    return Estimate(gained - lost, low, high, images, at)


def by_degrees(apart: Values, seed: int) -> Estimate:
    """Returns the difference of two means of numbers from 0 to 1, with its interval."""
    images = len(apart)
    whole = proportion_interval(apart)
    if images < LEAST_IMAGES:
        return whole
    low, high = (end.item() for end in mean_interval(of_values(apart[:, None]), seed=seed, low=-1.0, high=1.0))
    if math.isnan(low):  # so few images differ that resamples say nothing
        return whole
    value = float(apart.mean())
    found = Estimate(value, low, high, images)

    def at(number: int) -> tuple[float, float]:
        unseen = -math.expm1(math.log((1 - LEVEL) / 2) / number)
        below, above = found.ends(number)
        return max(-1.0, min(below, value - unseen)), min(1.0, max(above, value + unseen))

    return Estimate(value, *at(images), images, at)


def linearised(values: Values, baseline: Baseline, no_change: float) -> Values:
    """Returns each image's contribution to a relative shift, `[n]`; their mean is the relative shift."""
    assert baseline.pairs is not None
    mean, scale = np.nanmean(values), no_change - baseline.value
    relative_shift = (no_change - mean) / scale
    slope = baseline.pairs.means(np.ones((1, len(values))))[1][0]
    # The slopes of all images add up to 0; those of images without a value go to the others.
    added = relative_shift * len(values) * slope / scale
    added = added - np.mean(added[~np.isnan(values)])
    return np.asarray(relative_shift + (mean - values) / scale + added)


def mover(own: Sequence[float], other: Sequence[float], images: int) -> Estimate:
    """Returns the difference of two numbers, from their intervals."""
    (v1, l1, u1), (v0, l0, u0) = own, other
    value = v1 - v0
    return Estimate(value, value - math.hypot(v1 - l1, u0 - v0), value + math.hypot(u1 - v1, v0 - l0), images)
