"""`Estimate`, a number with its interval, and the estimates of paired differences: pure functions of arrays."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

from embedshift.arrays import GroupNumbers, Values
from embedshift.statistics.intervals import CONFIDENCE, LEAST_IMAGES, mean_interval
from embedshift.statistics.judged import Judged, Outcomes, judge
from embedshift.statistics.power import Discordance, images_for_loss, images_to_reject
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
    # Of no difference; NaN = only the interval is known.
    p: float = math.nan
    # Level of the interval's test, and of another number at a level the images that show that it is not this one.
    level: float = 1 - CONFIDENCE
    plan: Callable[[float, float], int | None] | None = None

    def interval(self, images: int) -> Interval:
        if self.interval_at is not None:
            return self.interval_at(images)
        scale = math.sqrt(self.images / images)
        return self.value - (self.value - self.low) * scale, self.value + (self.high - self.value) * scale

    def p_value(self, at: float, same: float) -> float:
        """Returns the two-sided p-value of the number `at`; 1 without an interval."""
        if at == same and not math.isnan(self.p):
            return self.p
        half, degrees = abs((self.high if at > self.value else self.low) - self.value), max(1, self.images - 1)
        if not math.isfinite(half):
            return 1.0
        away = abs(at - self.value) / half if half else math.inf
        return float(2 * stdtr(degrees, -away * stdtrit(degrees, (1 + CONFIDENCE) / 2)))

    def images_to_exclude(self, at: float, level: float) -> int | None:
        """Returns how many images show in 80 % of studies that the number is not `at`, if the truth is as measured."""
        return (
            images_to_reject(self.images, self.p_value(at, math.nan), level)
            if self.plan is None
            else self.plan(at, level)
        )


NO_ESTIMATE = Estimate(math.nan, math.nan, math.nan, 0)


def mean_estimate(sample: Estimates, seed: int) -> Estimate:
    low, high = mean_interval(sample, seed=seed)
    return Estimate(sample.mean.item(), low.item(), high.item(), sample.group_count)


def judged_estimate(judged: Judged, column: int, growth: float = 0.0, others: float = 0.0) -> Estimate:
    """Returns one difference of a judged alternative: of an augmentation, or over all as the last.

    `growth` is that of the discordance with the gallery, of which `others` are no images of the study.
    """
    one = judged.only(column)
    if not one.n.item():
        return NO_ESTIMATE
    value, p, (low, high) = one.difference.item(), one.p_values().item(), (end.item() for end in one.interval())
    if p > 1 - CONFIDENCE:  # of the exact test, which few images that differ do not pass
        low, high = min(low, 0.0), max(high, 0.0)

    def plan(at: float, level: float) -> int | None:
        number, per_image = one.number.item(), one.number.item() / one.groups
        pilot = Discordance.of(one.gained.item(), one.lost.item(), number, growth, others * per_image)
        images = images_for_loss(pilot, abs(value - at), float(ndtri(1 - level / 2)))
        return images and math.ceil(images / per_image)

    return Estimate(value, low, high, one.groups, p=p, plan=plan)


def proportion_difference(differences: Values, groups: GroupNumbers | None = None, seed: int = 0) -> Estimate:
    """Returns the difference of two proportions, from each image's gain of -1 to 1, `[n]`."""
    gains = differences[:, None, None]
    return judged_estimate(judge(Outcomes(np.zeros_like(gains)), Outcomes(gains), groups, seed=seed), 0)


def fraction_difference(differences: Values, seed: int, groups: GroupNumbers | None = None) -> Estimate:
    """Returns the difference of two means of numbers from 0 to 1, from each image's difference, `[n]`."""
    score = proportion_difference(differences, groups, seed)
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
