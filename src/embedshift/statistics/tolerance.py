"""Tolerance: the strength of a change at which a rising number reaches a given value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from embedshift.arrays import Values
from embedshift.config import Json
from embedshift.statistics.families import MeasuredFamily
from embedshift.statistics.intervals import of_shares
from embedshift.statistics.layout import sums_and_counts
from embedshift.statistics.sample import gather
from embedshift.statistics.summary import COSINE

# The share at which an embedding counts as moved too far: a tenth of the distance to an unrelated image.
SHARE = 0.1
# The proportion of views that no longer find their original at which a search counts as failing.
MISSED = 0.05
SHARE_CRITERION, MISSED_CRITERION = f"share {SHARE:g}", f"missed {100 * MISSED:g} %"
SCHEMA: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("family", "unit", "criterion"), pl.String),
    **dict.fromkeys(("value", "low", "high"), pl.Float64),
    "reached": pl.Boolean,
}


@dataclass(frozen=True)
class Tolerance:
    """A strength, in the unit of its family.

    Args:
        value: The strength; NaN if the strongest level does not reach the target.
        low: Lower end of its interval: the smaller number, whether or not it is the weaker change; NaN if that end lies
            beyond the strongest level, or there is no interval.
        high: Upper end, likewise.
    """

    value: float
    low: float
    high: float

    @property
    def reached(self) -> bool:
        """Whether a level reaches the target."""
        return not np.isnan(self.value)


def strength_at(parameters: ArrayLike, values: ArrayLike, target: float) -> Values:
    """Returns the strength at which the running maximum of some values first reaches a target.

    Between levels it interpolates linearly. A level without a value is left out, as if it had not been measured.

    Args:
        parameters: The strengths, level 0 first, rising or falling, `[1 + L]`.
        values: The value at each level, that of level 0 below the target, `[..., 1 + L]`.
        target: The target, above the value of level 0.

    Returns:
        `[...]`; NaN if no level reaches it. For an infinite value, the level before it.

    Example:
        >>> strength_at([100, 80, 50, 25], [[0.0, 0.05, 0.04, 0.15], [0.0, 0.01, 0.02, 0.03]], 0.1).tolist()
        [37.5, nan]
    """
    strengths, found = np.asarray(parameters, np.float64), np.asarray(values, np.float64)
    there = ~np.isnan(found)
    highest = np.maximum.accumulate(np.where(there, found, -np.inf), axis=-1)
    # Of each level the last one that has a value, itself or one before it.
    last = np.maximum.accumulate(np.where(there, np.arange(len(strengths)), 0), axis=-1)
    reaches = highest >= target
    after = reaches.argmax(axis=-1)
    before = np.maximum(after - 1, 0)
    start, end = (np.take_along_axis(highest, place[..., None], -1)[..., 0] for place in (before, after))
    weak = strengths[np.take_along_axis(last, before[..., None], -1)[..., 0]]
    with np.errstate(invalid="ignore", divide="ignore"):
        at = weak + (target - start) / (end - start) * (strengths[after] - weak)
    return np.where(reaches.any(axis=-1) & (after > 0), at, np.nan)


def tolerance(parameters: ArrayLike, values: ArrayLike, low: ArrayLike, high: ArrayLike, target: float) -> Tolerance:
    """Returns the strength at which a mean reaches a target, with its 95 % interval.

    The interval spans the strengths at which the upper and the lower ends of the means' intervals reach the target,
    that is, those at which the target lies within the mean's interval. A mean without an interval could be anything.

    Args:
        parameters: The strengths of level 0 and of levels 1, 2, …, `[1 + L]`.
        values: The means of levels 1, 2, …, `[L]`; level 0 has 0.
        low: Lower ends of their intervals, `[L]`; NaN if there is none.
        high: Upper ends, `[L]`.
        target: The target, above 0.

    Example:
        >>> tolerance([0, 1, 2, 3], [0.02, 0.08, 0.18], [0.01, 0.06, 0.14], [0.03, 0.12, 0.26], 0.1)
        Tolerance(value=2.2, low=1.777..., high=2.5)
    """
    mean, lower, upper = (np.asarray(each, np.float64) for each in (values, low, high))
    curves = np.stack([mean, np.where(np.isnan(lower), 0.0, lower), np.where(np.isnan(upper), np.inf, upper)])
    # A level without a mean is left out of all three.
    curves[:, np.isnan(mean)] = np.nan
    strengths = np.asarray(parameters, np.float64)
    value, strong, weak = strength_at(strengths, np.pad(curves, ((0, 0), (1, 0))), target).tolist()
    if np.isnan(lower[~np.isnan(mean)]).all():
        return Tolerance(value, np.nan, np.nan)
    ends = (weak, strong) if strengths[-1] > strengths[0] else (strong, weak)
    return Tolerance(value, *ends)


def of_families(families: Sequence[MeasuredFamily], summary: pl.DataFrame, target: float = SHARE) -> pl.DataFrame:
    """Returns for each family the strength at which the mean share of the cosine reaches a target.

    Args:
        families: The families of a study; those with one level have no tolerance.
        summary: The study's table `summary`.
        target: The target, above 0.

    Returns:
        As `of_curves`.
    """
    columns = ("augmentation", "share", "share_low", "share_high")
    cosine = summary.filter(pl.col("metric") == COSINE).select(columns)
    shares = {name: np.array(ends, np.float64) for name, *ends in cosine.iter_rows()}
    return of_curves(families, shares, f"share {target:g}", target)


def of_missed(families: Sequence[MeasuredFamily], ranks: pl.DataFrame, draws: int) -> pl.DataFrame:
    """Returns for each family the strength at which 5 % of the views do not find their original first.

    Args:
        families: The families of a study.
        ranks: The study's table `search_ranks`.
        draws: Views per image and augmentation.

    Returns:
        As `of_curves`.
    """
    return of_curves(families, missed_shares(ranks, draws), MISSED_CRITERION, MISSED)


def of_curves(
    families: Sequence[MeasuredFamily], numbers: Mapping[str, ArrayLike], criterion: str, target: float
) -> pl.DataFrame:
    """Returns for each family the strength at which a rising number reaches a target.

    Args:
        families: The families of a study; those with one level have no tolerance.
        numbers: View → the number and the ends of its interval; NaN if there is none. Level 0 has 0.
        criterion: Name of the number and the target.
        target: The target, above 0.

    Returns:
        `family, unit, criterion, value, low, high, reached`: `value` and the ends of its 95 % interval are in the
        family's unit, the smaller end first. `value` is null if the strongest level does not reach the target; an end
        is null if it lies beyond the strongest level or there is no interval.
    """
    rows: list[Json] = []
    for family in families:
        if family.has_strength:
            values, low, high = np.transpose([np.asarray(numbers[view], np.float64) for view in family.views])
            found = tolerance(family.strengths, values, low, high, target)
            row = {"family": family.name, "unit": family.unit, "criterion": criterion}
            rows.append(row | {"value": found.value, "low": found.low, "high": found.high, "reached": found.reached})
    return pl.DataFrame(rows, schema=SCHEMA).fill_nan(None)


def missed_shares(ranks: pl.DataFrame, draws: int) -> dict[str, Values]:
    """Returns the proportion of each augmentation's views that do not find their original first, with its interval.

    Args:
        ranks: The table `search_ranks`, image by image; a view without a rank is left out.
        draws: Views per image and augmentation.

    Returns:
        Augmentation → value, lower end, upper end.

    Example:
        >>> ranks = pl.DataFrame({"view": ["blur", "blur"], "rank": [1, 7]})
        >>> missed_shares(ranks, 1)["blur"][0].item()
        0.5
    """
    found: dict[str, Values] = {}
    for (view,), part in ranks.select("view", pl.col("rank") > 1).partition_by("view", as_dict=True).items():
        missed = part["rank"].cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(-1, draws, 1)
        sample = gather([sums_and_counts(missed)])
        found[view] = np.concatenate([sample.mean, *of_shares(sample)])
    return found


def by_family(table: pl.DataFrame | None, criterion: str = SHARE_CRITERION) -> dict[str, Json]:
    """Returns the rows of one criterion of the table `tolerance`, by family; empty if there is no table.

    Example:
        >>> table = pl.DataFrame({"family": ["blur", "blur"], "criterion": [SHARE_CRITERION, MISSED_CRITERION]})
        >>> by_family(table, MISSED_CRITERION)
        {'blur': {'family': 'blur', 'criterion': 'missed 5 %'}}
    """
    if table is None:
        return {}
    return {row["family"]: row for row in table.filter(pl.col("criterion") == criterion).iter_rows(named=True)}
