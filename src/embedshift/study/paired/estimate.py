"""`Estimate`, a number with its interval, and the estimates of paired differences: pure functions of arrays."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from embedshift.arrays import Values
from embedshift.statistics.baselines import Baseline
from embedshift.statistics.intervals import LEAST_IMAGES, LEVEL, mean_interval
from embedshift.statistics.paired_proportions import difference_of_proportions
from embedshift.statistics.sample import estimates_from_values, gather

Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A measured number with its 95 % interval."""

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
    return Estimate(math.nan, math.nan, math.nan, 0, note=note)


def mean_difference(sums: Values, counts: Values, seed: int) -> Estimate:
    """Returns the mean of differences with the bootstrap-t over images."""
    if not len(sums):
        return no_estimate()
    sample = gather([(sums[:, None], counts[:, None])])
    low, high = mean_interval(sample, seed=seed)
    return Estimate(sample.mean.item(), low.item(), high.item(), len(sums))


def proportion_difference(differences: Values) -> Estimate:
    """The difference of two proportions with Tango's score interval, from each image's gain of -1 to 1, `[n]`."""
    images = len(differences)
    if not images:
        return no_estimate()
    gained, lost = (float(np.maximum(part, 0.0).mean()) for part in (differences, -differences))

    def interval_at(number: int) -> Interval:
        return difference_of_proportions(gained * number, lost * number, number)

    low, high = interval_at(images) if images >= LEAST_IMAGES else (math.nan, math.nan)
    return Estimate(gained - lost, low, high, images, interval_at)


def fraction_difference(differences: Values, seed: int) -> Estimate:
    """Returns the difference of two means of numbers from 0 to 1, from each image's difference, `[n]`."""
    images = len(differences)
    score = proportion_difference(differences)
    if images < LEAST_IMAGES:
        return score
    low, high = (
        end.item() for end in mean_interval(estimates_from_values(differences[:, None]), seed=seed, low=-1.0, high=1.0)
    )
    if math.isnan(low):
        return score
    value = float(differences.mean())
    bootstrap = Estimate(value, low, high, images)

    def interval_at(number: int) -> Interval:
        unseen = -math.expm1(math.log((1 - LEVEL) / 2) / number)
        below, above = bootstrap.interval(number)
        return max(-1.0, min(below, value - unseen)), min(1.0, max(above, value + unseen))

    return Estimate(value, *interval_at(images), images, interval_at)


def shift_contributions(values: Values, baseline: Baseline, no_change: float) -> Values:
    """Returns each image's contribution to a relative shift, `[n]`; their mean is the relative shift."""
    assert baseline.pairs is not None
    mean, scale = np.nanmean(values), no_change - baseline.value
    relative_shift = (no_change - mean) / scale
    slope = baseline.pairs.means(np.ones((1, len(values))))[1][0]
    # The slopes of all images add up to 0; those of images without a value go to the others.
    from_baseline = relative_shift * len(values) * slope / scale
    from_baseline = from_baseline - np.mean(from_baseline[~np.isnan(values)])
    return np.asarray(relative_shift + (mean - values) / scale + from_baseline)


def mover(number: Sequence[float], subtracted: Sequence[float], images: int, note: str = "") -> Estimate:
    """Returns the difference of two numbers, given as value, low and high, from their intervals."""
    (v1, l1, u1), (v0, l0, u0) = number, subtracted
    value = v1 - v0
    low, high = value - math.hypot(v1 - l1, u0 - v0), value + math.hypot(u1 - v1, v0 - l0)
    return Estimate(value, low, high, images, note=note)
