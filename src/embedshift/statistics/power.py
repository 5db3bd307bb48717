"""How many images, or groups, a comparison needs, planned from a pilot: its power is that of the test that is made.

A ratio of relative shifts is tested by Student's t at the level that the family of comparisons leaves each of them. A
loss of recall is tested by McNemar's score, whose power is summed over the number of images that differ. `planned` puts
plans in words.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from scipy.special import bdtrik, betainc, gammaln, nctdtr, ndtr, ndtri, stdtr, stdtrit, xlog1py, xlogy

from embedshift.arrays import Values
from embedshift.statistics.intervals import CONFIDENCE, LEAST_IMAGES, OF_ONE, clopper_pearson

# The power of every number of images that is named where none is chosen.
POWER = 0.8
# More images than any study will have.
MOST_IMAGES = 10**9
# Standard deviations of the number of images that differ, beyond which its probability is rounding.
_FAR = 9.0
# Images that differ above which their number has the normal law; and images above which a mean has it: SciPy's
# noncentral t is NaN in the far tail of some sizes from 3,000 on.
_MANY, _NORMAL = 10_000, 1_000
# A pilot of 50 images hardly sees a long tail: an interval of 97.5 % then holds in 90 % of pilots.
_PILOT_Z = float(ndtri(0.9875))


def times_more(critical: float = OF_ONE, power: float = POWER) -> float:
    """Returns how many times as many images decide with a power as those whose interval just ends at the bound."""
    return float(((critical + ndtri(power)) / critical) ** 2)


def power_of_mean(images: float, effect: float, sd: float, level: float) -> float:
    """Returns the probability that a mean's interval leaves out 0."""
    critical = stdtrit(images - 1, 1 - level / 2)
    away = abs(effect) * math.sqrt(images) / sd
    if images > _NORMAL:
        return float(ndtr(away - critical) + ndtr(-away - critical))
    return float(1 - nctdtr(images - 1, away, critical) + nctdtr(images - 1, away, -critical))


def power_of_loss(images: int, loss: float, differing: float, critical: float = OF_ONE) -> float:
    """Returns the probability that the exact test of paired outcomes finds a loss of recall."""
    differing = max(differing, loss)
    if images * differing > _MANY:
        away = math.sqrt(images) * loss - critical * math.sqrt(differing)
        return float(ndtr(away / math.sqrt(max(differing - loss**2, 1e-12))))
    middle, spread = images * differing, math.sqrt(images * differing * (1 - differing))
    first, last = max(1, int(middle - _FAR * spread - 1)), min(images, int(middle + _FAR * spread + 1))
    number = np.arange(first, last + 1.0)
    ways = gammaln(images + 1) - gammaln(number + 1) - gammaln(images - number + 1)
    chance = np.exp(ways + xlogy(number, differing) + xlog1py(images - number, -differing))
    most_lost = _most_lost(critical, 2 ** last.bit_length())[first - 1 : last]
    beyond = np.maximum(number - most_lost, 1e-9)
    lost = np.where(most_lost >= number, 0.0, betainc(most_lost + 1, beyond, (differing + loss) / (2 * differing)))
    return float((chance * lost).sum())


@functools.lru_cache(32)
def _most_lost(critical: float, most: int) -> Values:
    """Returns how many of 1, 2, …, `most` images that differ may be lost before the sign test is significant."""
    return np.asarray(np.ceil(bdtrik(ndtr(critical), np.arange(1.0, most + 1), 0.5) - 1e-9))


def least_images(is_enough: Callable[[int], bool], first: int = LEAST_IMAGES) -> int | None:
    """Returns the smallest number, from `first` on, for which `is_enough` is true; None above a billion."""
    enough = max(1, first)
    while not is_enough(enough):
        enough *= 2
        if enough > MOST_IMAGES:
            return None
    too_few = max(first - 1, enough // 2)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if is_enough(middle) else (middle, enough)
    return enough


def images_to_reject(images: int, errors: float, level: float = 1 - CONFIDENCE) -> int | None:
    """Returns how many images reject a number, so many standard errors away, in 80 % of studies; None = too many."""
    needed = images * ((ndtri(1 - level / 2) + ndtri(POWER)) / errors) ** 2 if errors > 0 else math.inf
    return math.ceil(needed) if needed <= MOST_IMAGES else None


def images_to_decide(
    decides: Callable[[int], bool], images: int, critical: float = OF_ONE, *, is_certain: bool = False
) -> int | None:
    """Returns about how many images decide in 80 % of studies, if the truth is as measured; None = no number does."""
    enough = least_images(decides, max(1, images))
    return enough if enough is None or is_certain else math.ceil(enough * times_more(critical))


@dataclass(frozen=True)
class Planned:
    """Images, or groups, for a power, and between what they lie in 90 % of pilots or more; None = too many."""

    n: int | None
    n_low: int | None
    n_high: int | None

    def times(self, factor: float) -> "Planned":
        numbers = (self.n, self.n_low, self.n_high)
        return Planned(*(None if number is None else math.ceil(number * factor) for number in numbers))


def plan_for_mean(values: Values, effect: float, critical: float, power: float = POWER) -> Planned:
    """Plans a test of a mean."""
    level = 2 * float(stdtr(len(values) - 1, -critical))
    return Planned(*(images_for_mean(effect, sd, level, power) for sd in sd_with_ends(values)))


def sd_with_ends(values: Values) -> tuple[float, float, float]:
    """Returns a standard deviation and its interval by the kurtosis (Bonett 2006), of one or more samples."""
    n, ordered = len(values), np.sort(values.reshape(len(values), -1), axis=0)
    cut = int(n / (2 * math.sqrt(n - 4)))
    squares = np.square(ordered - ordered.mean(axis=0)).sum(axis=0)
    fourth = ((ordered - ordered[cut : n - cut].mean(axis=0)) ** 4).sum(axis=0)
    variance, kurtosis = float(squares.mean() / (n - 1)), float((n * fourth / squares**2).mean())
    larger = n / (n - OF_ONE)
    error = larger * math.sqrt(max(kurtosis - (n - 3) / n, 1.0) / (n - 1))
    low, high = (math.sqrt(larger * variance * math.exp(sign * _PILOT_Z * error)) for sign in (-1, 1))
    return math.sqrt(variance), low, high


def images_for_mean(effect: float, sd: float, level: float, power: float = POWER) -> int | None:
    """Returns how many images show by Student's t that a mean is not 0."""
    return least_images(lambda images: power_of_mean(images, effect, sd, level) >= power)


@dataclass(frozen=True)
class Discordance:
    """Images that one of two alternatives finds and the other does not, where both find equally many, in a pilot.

    The fraction grows by `growth` of itself where the gallery is e times as large; `others` are not of the study.
    """

    fraction: float
    pilot: float
    growth: float = 0.0
    gallery: float | None = None
    others: float = 0.0

    @classmethod
    def of(cls, gained: float, lost: float, pilot: float, growth: float, others: float) -> "Discordance":
        """Returns that of two fractions; by chance alone they differ, which makes the smaller one too small."""
        apart = math.sqrt(max(0.0, (gained - lost) ** 2 - (gained + lost) / pilot))
        return cls(gained + lost - apart, pilot, growth, pilot + others, others)

    def with_loss(self, loss: float, images: int) -> float:
        """Returns the fraction of images that differ if one of both finds so much less, in a study of so many."""
        larger = math.log((images + self.others) / (self.gallery or self.pilot))
        return min(1.0, self.fraction * max(0.0, 1 + self.growth * larger) + loss)


def plan_for_loss(pilot: Discordance, loss: float, critical: float = OF_ONE, power: float = POWER) -> Planned:
    """Plans a test of a loss of recall."""
    low, high = clopper_pearson(pilot.fraction * pilot.pilot, pilot.pilot)
    each = (replace(pilot, fraction=fraction) for fraction in (pilot.fraction, float(low), float(high)))
    return Planned(*(images_for_loss(one, loss, critical, power) for one in each))


def images_for_loss(pilot: Discordance, loss: float, critical: float = OF_ONE, power: float = POWER) -> int | None:
    """Returns how many images, each as one of the pilot's, show by the exact sign test that recall differs."""
    return least_images(lambda images: power_of_loss(images, loss, pilot.with_loss(loss, images), critical) >= power)


def images_for_equivalence(effect: float, sd: float, margin: float) -> int | None:
    """Returns how many images decide by two one-sided tests, in 80 % of studies, if a mean is within a margin of 0."""

    def is_shown(images: int) -> bool:
        error, critical = sd / math.sqrt(images), float(stdtrit(images - 1, CONFIDENCE))
        nearer, farther = ((margin - sign * abs(effect)) / error for sign in (1, -1))
        if nearer < 0:
            return bool(ndtr(-nearer - critical) >= POWER)
        return bool(ndtr(nearer - critical) + ndtr(farther - critical) - 1 >= POWER)

    return None if abs(abs(effect) - margin) <= 1e-9 * margin else least_images(is_shown)


# Table → what it compares.
KINDS = {"differences": "two augmentations", "comparison": "two encoders", "tolerance": "interval of a tolerance"}
PLANNED = ("compared", "to find", "median", "hardest", "range of the hardest")


def in_points(fraction: float) -> str:
    """Returns a fraction of recall in words: "1 point", "2.5 points"."""
    points = f"{100 * fraction:.4g}"
    return f"{points} point{'' if points == '1' else 's'}"


def in_words(row: Mapping[str, Any]) -> str:
    """Returns the effect that a row plans for, in words: "loss of 1 point of recall@1"."""
    effect = row["effect"]
    if row["metric"] == "recall@1":
        return f"loss of {in_points(effect)} of recall@1"
    if row["table"] == "tolerance":
        return f"{row['metric']}, within {100 * (effect - 1):.3g} %"
    return f"{effect:g} times as far"


def planned(table: pl.DataFrame) -> Iterator[tuple[str, ...]]:
    """Yields a row of text, in the order of `PLANNED`, for each table and metric."""
    for rows in table.partition_by("table", "metric", maintain_order=True):
        first, found = rows.row(0, named=True), rows.drop_nulls("n").sort("n")
        numbers: list[int | None] = [None] * 4
        if len(found):
            median, last = found["n"][len(found) // 2], found.row(-1, named=True)
            is_all = len(found) == len(rows)
            numbers = [median, *(last[name] if is_all else None for name in ("n", "n_low", "n_high"))]
        median, hardest, low, high = ("-" if number is None else f"{number:,}" for number in numbers)
        ends = "-" if low == high else f"{low} to {high}"
        yield KINDS[first["table"]], in_words(first), median, hardest, ends
