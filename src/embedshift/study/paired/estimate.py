"""`Estimate`, a number with its interval, and the estimates of paired differences: pure functions of arrays."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from embedshift.arrays import GroupNumbers, Values
from embedshift.statistics.intervals import CONFIDENCE, LEAST_IMAGES, OF_ONE, mean_interval
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
    edge: float = math.nan
    note: str = ""
    # Of no difference; NaN = only the interval is known.
    p: float = math.nan
    # Images that show in 80 % of studies, if the truth is as measured, that the number is not another.
    plan: Callable[[float], int | None] | None = None

    def errors(self, at: float) -> float:
        """Returns how many standard errors a number is away, of which the interval has 1.96 on either side."""
        half = abs((self.high if at > self.value else self.low) - self.value)
        return OF_ONE * abs(at - self.value) / half if half else math.inf

    def p_value(self, at: float, same: float) -> float:
        """Returns the two-sided p-value of the number `at`; 1 without an interval."""
        if at == same and not math.isnan(self.p):
            return self.p
        degrees, away = max(1, self.images - 1), self.errors(at) / OF_ONE
        p = float(2 * stdtr(degrees, -away * stdtrit(degrees, (1 + CONFIDENCE) / 2)))
        return 1.0 if math.isnan(p) else p

    def images_to_exclude(self, at: float) -> int | None:
        """Returns how many images show in 80 % of studies that the number is not `at`, if the truth is as measured."""
        return images_to_reject(self.images, self.errors(at)) if self.plan is None else self.plan(at)


NO_ESTIMATE = Estimate(math.nan, math.nan, math.nan, 0)


def mean_estimate(sample: Estimates, seed: int) -> Estimate:
    low, high = mean_interval(sample, seed=seed)
    return Estimate(sample.mean.item(), low.item(), high.item(), sample.group_count)


def judged_estimate(judged: Judged, column: int, growth: float = 0.0, others: float = 0.0) -> Estimate:
    """Returns a difference of a judged alternative; the last is over all. Of the gallery, `others` are not judged."""
    one = judged.only(column)
    if not one.n.item():
        return NO_ESTIMATE
    value, p, (low, high) = one.difference.item(), one.p_values().item(), (end.item() for end in one.interval())
    if p > 1 - CONFIDENCE:  # of the exact test, which few images that differ do not pass
        low, high = min(low, 0.0), max(high, 0.0)
    number = one.number.item()
    pilot = Discordance.of(one.gained.item(), one.lost.item(), number, growth, others * number / one.groups)

    def plan(at: float) -> int | None:
        images = images_for_loss(pilot, abs(value - at))
        return images and math.ceil(images * one.groups / number)

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
    value, unseen = float(differences.mean()), -math.expm1(math.log((1 - CONFIDENCE) / 2) / images)
    return Estimate(value, max(-1.0, min(low, value - unseen)), min(1.0, max(high, value + unseen)), images)


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
