"""`Estimate`, a number with its interval, and the estimates of paired differences: pure functions of arrays."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from embedshift.arrays import GroupNumbers, Values
from embedshift.statistics.intervals import CONFIDENCE, LEAST_IMAGES, difference_of_proportions, mean_interval
from embedshift.statistics.sample import Estimates, estimates_from_values

Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    value: float
    low: float
    high: float
    images: int
    interval_at: Callable[[int], Interval] | None = None
    edge: float = math.nan
    note: str = ""

    def interval(self, images: int) -> Interval:
        if self.interval_at is not None:
            return self.interval_at(images)
        scale = math.sqrt(self.images / images)
        return self.value - (self.value - self.low) * scale, self.value + (self.high - self.value) * scale


NO_ESTIMATE = Estimate(math.nan, math.nan, math.nan, 0)


def mean_estimate(sample: Estimates, seed: int) -> Estimate:
    low, high = mean_interval(sample, seed=seed)
    return Estimate(sample.mean.item(), low.item(), high.item(), sample.group_count)


def proportion_difference(differences: Values, groups: GroupNumbers | None = None, per_equal: float = 1.0) -> Estimate:
    """The difference of two proportions with Tango's score interval, from each image's gain of -1 to 1, `[n]`.

    Of groups, it counts the number of independent images with the same error; if none differs, `per_equal` a group.
    """
    if not len(differences):
        return NO_ESTIMATE
    sample = estimates_from_values(differences[:, None], groups)
    images, sd = sample.group_count, float(differences.std(ddof=min(1, len(differences) - 1)))
    per_group = 1.0 if groups is None else _effective(sample, sd, per_equal) / images
    gained, lost = (float(np.maximum(part, 0.0).mean()) for part in (differences, -differences))

    def interval_at(number: int) -> Interval:
        effective = number * per_group
        return difference_of_proportions(gained * effective, lost * effective, effective)

    low, high = interval_at(images) if images >= LEAST_IMAGES else (math.nan, math.nan)
    return Estimate(gained - lost, low, high, images, interval_at)


def _effective(sample: Estimates, sd: float, per_equal: float) -> float:
    images = float(sample.counts.item())
    if not sample.variance.item() > 0:
        return per_equal * sample.group_count
    t = stdtrit(images - 1, (1 + CONFIDENCE) / 2) / stdtrit(sample.group_count - 1, (1 + CONFIDENCE) / 2)
    return min(images, float((sd / sample.error.item()) ** 2 * t**2))


def fraction_difference(differences: Values, seed: int, groups: GroupNumbers | None = None) -> Estimate:
    """Returns the difference of two means of numbers from 0 to 1, from each image's difference, `[n]`."""
    score = proportion_difference(differences, groups)
    images = score.images
    if images < LEAST_IMAGES:
        return score
    sample = estimates_from_values(differences[:, None], groups)
    low, high = (end.item() for end in mean_interval(sample, seed=seed, low=-1.0, high=1.0))
    if math.isnan(low):
        return score
    value = float(differences.mean())
    bootstrap = Estimate(value, low, high, images)

    def interval_at(number: int) -> Interval:
        unseen = -math.expm1(math.log((1 - CONFIDENCE) / 2) / number)
        below, above = bootstrap.interval(number)
        return max(-1.0, min(below, value - unseen)), min(1.0, max(above, value + unseen))

    return Estimate(value, *interval_at(images), images, interval_at)


def mean_of_fractions(
    differences: Values, seed: int, groups: GroupNumbers | None = None, sample: Estimates | None = None
) -> Estimate:
    """The same of means over augmentations; `sample`, of the same mean, adds what images have in common."""
    differ = differences != 0
    if (differ.sum() if groups is None else len(np.unique(groups[differ]))) < LEAST_IMAGES:
        return fraction_difference(differences, seed, groups)
    return mean_estimate(estimates_from_values(differences[:, None], groups) if sample is None else sample, seed)


def mover(number: Sequence[float], subtracted: Sequence[float], images: int, note: str = "") -> Estimate:
    (v1, l1, u1), (v0, l0, u0) = number, subtracted
    value = v1 - v0
    low, high = value - math.hypot(v1 - l1, u0 - v0), value + math.hypot(u1 - v1, v0 - l0)
    return Estimate(value, low, high, images, note=note)
