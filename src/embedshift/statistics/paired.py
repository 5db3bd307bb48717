"""Paired outcomes of the same images: what one change, encoder or layout finds and another does not.

An outcome is a number from 0 to 1 for each image, such as whether its view found its original. Two outcomes differ by a
gain of -1 to 1. One gain has Tango's score interval (1998); several that are compared share one critical value, that of
the largest of all McNemar statistics when the sign of every image's gains is drawn (max-T of Romano and Wolf 2005): it
is exact where gains are as likely as losses, however few images differ.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import GroupNumbers, Values
from embedshift.statistics.intervals import (
    CONFIDENCE,
    LEAST_IMAGES,
    OF_ONE,
    SimultaneousIntervals,
    difference_of_proportions,
    simultaneous_intervals,
)
from embedshift.statistics.judged import equal_groups
from embedshift.statistics.sample import IN_MEMORY, RESAMPLES_OF_MANY, estimates_from_values

# Signs drawn at once.
_CHUNK = 2**22


@dataclass(frozen=True)
class PairedGains:
    """Outcomes of K changes in pairs, first less second, in the order of `numpy.triu_indices(K, 1)`, `[J]` each.

    Args:
        gained: The part of images that only the first finds.
        lost: The part of images that only the second finds.
        number: Number of images that have both, or of equal groups; NaN for fewer than 8.
        critical: What McNemar's statistic of a pair must exceed, so that no pair does in 95 % of studies without gains.
        intervals: Simultaneous intervals of the differences; NaN for fewer than 8 images, or groups.
        sums: The gains of each image, or group, `[G, J]`.
    """

    gained: Values
    lost: Values
    number: Values
    critical: float
    intervals: SimultaneousIntervals
    sums: Values

    @property
    def difference(self) -> Values:
        return self.gained - self.lost


def paired_gains(outcomes: Values, groups: GroupNumbers | None = None, *, seed: int) -> PairedGains:
    """Compares all pairs of outcomes at once.

    Of groups, an interval is that of resampled groups, and never narrower than that of as many independent images.

    Args:
        outcomes: Numbers from 0 to 1, `[n, K]`; NaN if an image has none.
        groups: The group of each image, `[n]`; None = images are independent.
        seed: Decides the drawn signs and the resamples.

    Example:
        >>> found = np.array([[1.0, 1.0], [1.0, 0.0]]).repeat((60, 20), axis=0)
        >>> gains = paired_gains(found, seed=0)
        >>> gains.difference.item(), gains.intervals.low.round(3).item(), gains.intervals.significant.item()
        (0.25, 0.168, True)
    """
    first, second = np.triu_indices(outcomes.shape[1], k=1)
    gains = outcomes[:, first] - outcomes[:, second]
    present, filled = ~np.isnan(gains), np.nan_to_num(gains)
    sums, counts = (part if groups is None else _by_group(part, groups) for part in (filled, present.astype(float)))
    number, images = (counts > 0).sum(axis=0).astype(float), present.sum(axis=0)
    with np.errstate(invalid="ignore"):
        gained, lost = (np.maximum(sign * filled, 0.0).sum(axis=0) / images for sign in (1, -1))
        z = critical_of_signs(sums, seed=seed)
        # Few images that differ have few statistics: one may be equal to the critical value, and is then not above it.
        is_beyond = np.abs(sums.sum(axis=0)) > z * np.sqrt((sums**2).sum(axis=0)) * (1 + 1e-9)
    alike = 1.0 if groups is None else equal_groups(groups) / len(sums)
    number = np.where(number >= LEAST_IMAGES, number * alike, np.nan)
    low, high = difference_of_proportions(gained * number, lost * number, number, z)
    if groups is not None:
        resampled = simultaneous_intervals(estimates_from_values(gains, groups), seed=seed)
        low, high = np.fmin(low, resampled.low), np.fmax(high, resampled.high)
    significant = is_beyond & ((low > 0) | (high < 0))
    low, high = np.where(significant, low, np.minimum(low, 0.0)), np.where(significant, high, np.maximum(high, 0.0))
    return PairedGains(gained, lost, number, z, SimultaneousIntervals(low, high, significant), sums)


def ranks_by_view(ranks: pl.DataFrame, names: Sequence[str], draws: int) -> Values:
    """Returns the rank of the original of each view, `[n, draws, A]`, from the rows of `search_ranks`; NaN for none."""
    parts = ranks.partition_by("view", as_dict=True, maintain_order=True)
    return np.stack(
        [parts[name,]["rank"].cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(-1, draws) for name in names], -1
    )


def found_first(ranks: Values) -> Values:
    """Returns whether each original ranks first; NaN where it has no rank."""
    return np.where(np.isnan(ranks), np.nan, ranks == 1)


def discordance_growth(first: Values, second: Values) -> float:
    """Returns by how much of itself the discordance of two searches grows where the gallery is e times as large.

    It grows with the logarithm of the gallery's size, as from half of the gallery, which keeps each image that ranks
    before an original with a chance of 1/2, to all of it. Ranks are of the same views; NaN for a view that has none.
    """
    found = (found_first(first), found_first(second)), (0.5 ** (first - 1), 0.5 ** (second - 1))
    whole, half = (float(np.nansum(a + b - 2 * a * b)) for a, b in found)
    return min(1.0, max(0.0, math.log2(whole / half))) if whole > 0 else 0.0


def critical_of_signs(sums: Values, *, seed: int, is_large: bool | None = None) -> float:
    """Returns the critical value of the largest of J McNemar statistics, |Σ s| / √Σ s² over groups, from `[G, J]`.

    It is the 95 % quantile when the sign of each group's sums is drawn, at least that of one normal number. Above 5,000
    groups, and where a study that `is_large` is planned, the statistics have the normal law of their correlations.
    """
    length = np.sqrt((sums**2).sum(axis=0))
    used = length > 0
    if not used.any():
        return OF_ONE
    units, rng = sums[:, used] / length[used], np.random.default_rng(seed)
    if len(units) > IN_MEMORY if is_large is None else is_large:
        values, vectors = np.linalg.eigh(units.T @ units)
        units = (vectors * np.sqrt(np.maximum(values, 0.0))).T
        drawn = np.abs(rng.standard_normal((RESAMPLES_OF_MANY, len(units))) @ units).max(axis=1)
        return max(OF_ONE, float(np.quantile(drawn, CONFIDENCE, method="higher")))
    largest, step = list[NDArray[np.float64]](), max(1, _CHUNK // len(units))
    for start in range(0, RESAMPLES_OF_MANY, step):
        signs = rng.integers(2, size=(min(step, RESAMPLES_OF_MANY - start), len(units))) * 2.0 - 1
        largest.append(np.abs(signs @ units).max(axis=1))
    return max(OF_ONE, float(np.quantile(np.concatenate(largest), CONFIDENCE, method="higher")))


def _by_group(values: Values, groups: GroupNumbers) -> Values:
    numbers = np.unique(groups, return_inverse=True)[1]
    sums = np.zeros((int(numbers.max(initial=-1)) + 1, values.shape[1]))
    np.add.at(sums, numbers, values)
    return sums
