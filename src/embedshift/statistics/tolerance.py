"""Tolerance: the strength of a change at which a rising number reaches a given value."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from embedshift.arrays import GroupNumbers, Values
from embedshift.config import Json
from embedshift.statistics.intervals import proportion_interval
from embedshift.statistics.layout import sums_and_counts
from embedshift.statistics.sample import gather
from embedshift.statistics.strengths import MeasuredFamily
from embedshift.statistics.summary import COSINE

# The relative shift at which an embedding counts as moved too far: a tenth of the distance to another image.
RELATIVE_SHIFT = 0.1
# The proportion of views that no longer find their original at which a search counts as failing.
MISSED = 0.05
# If none of fewer images is missed, Clopper and Pearson's upper end is still above that.
LEAST_SAFE = math.ceil(math.log(0.025) / math.log(1 - MISSED))
RELATIVE_SHIFT_CRITERION, MISSED_CRITERION = f"relative shift {RELATIVE_SHIFT:g}", f"missed {100 * MISSED:g} %"
SCHEMA: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("family", "unit", "criterion"), pl.String),
    **dict.fromkeys(("value", "low", "high"), pl.Float64),
    "reached": pl.Boolean,
}


@dataclass(frozen=True)
class Tolerance:
    """A strength, in the unit of its family."""

    value: float
    low: float
    high: float

    @property
    def reached(self) -> bool:
        return not np.isnan(self.value)


def strength_at(parameters: ArrayLike, values: ArrayLike, target: float) -> Values:
    strengths, curves = np.asarray(parameters, np.float64), np.asarray(values, np.float64)
    present = ~np.isnan(curves)
    highest = np.maximum.accumulate(np.where(present, curves, -np.inf), axis=-1)
    # Of each level the last one that has a value, itself or one before it.
    last = np.maximum.accumulate(np.where(present, np.arange(len(strengths)), 0), axis=-1)
    reaches = highest >= target
    after = reaches.argmax(axis=-1)
    before = np.maximum(after - 1, 0)
    start, end = (np.take_along_axis(highest, level[..., None], -1)[..., 0] for level in (before, after))
    weak = strengths[np.take_along_axis(last, before[..., None], -1)[..., 0]]
    with np.errstate(invalid="ignore", divide="ignore"):
        at = weak + (target - start) / (end - start) * (strengths[after] - weak)
    return np.where(reaches.any(axis=-1) & (after > 0), at, np.nan)


def tolerance(parameters: ArrayLike, values: ArrayLike, low: ArrayLike, high: ArrayLike, target: float) -> Tolerance:
    mean, lower, upper = (np.asarray(numbers, np.float64) for numbers in (values, low, high))
    curves = np.stack([mean, np.where(np.isnan(lower), 0.0, lower), np.where(np.isnan(upper), np.inf, upper)])
    # A level without a mean is left out of all three.
    curves[:, np.isnan(mean)] = np.nan
    strengths = np.asarray(parameters, np.float64)
    value, strong, weak = strength_at(strengths, np.pad(curves, ((0, 0), (1, 0))), target).tolist()
    if np.isnan(lower[~np.isnan(mean)]).all():
        return Tolerance(value, np.nan, np.nan)
    ends = (weak, strong) if strengths[-1] > strengths[0] else (strong, weak)
    return Tolerance(value, *ends)


def relative_shift_tolerances(
    families: Sequence[MeasuredFamily], summary: pl.DataFrame, target: float = RELATIVE_SHIFT
) -> pl.DataFrame:
    columns = ("augmentation", "relative_shift", "relative_shift_low", "relative_shift_high")
    cosine = summary.filter(pl.col("metric") == COSINE).select(columns)
    relative_shifts = {name: np.array(ends, np.float64) for name, *ends in cosine.iter_rows()}
    return tolerances_from_curves(families, relative_shifts, f"relative shift {target:g}", target)


def missed_tolerances(
    families: Sequence[MeasuredFamily], ranks: pl.DataFrame, draws: int, groups: GroupNumbers | None = None
) -> pl.DataFrame:
    return tolerances_from_curves(families, missed_fractions(ranks, draws, groups), MISSED_CRITERION, MISSED)


def tolerances_from_curves(
    families: Sequence[MeasuredFamily], numbers: Mapping[str, ArrayLike], criterion: str, target: float
) -> pl.DataFrame:
    rows: list[Json] = []
    for family in families:
        if family.has_strength:
            values, low, high = np.transpose([np.asarray(numbers[view], np.float64) for view in family.views])
            strength = tolerance(family.strengths, values, low, high, target)
            row = {"family": family.name, "unit": family.unit, "criterion": criterion}
            rows.append(row | vars(strength) | {"reached": strength.reached})
    return pl.DataFrame(rows, schema=SCHEMA).fill_nan(None)


def missed_fractions(ranks: pl.DataFrame, draws: int, groups: GroupNumbers | None = None) -> dict[str, Values]:
    """Returns the proportion of each augmentation's views that do not find their original first, with its interval."""
    fractions: dict[str, Values] = {}
    for (view,), part in ranks.select("view", pl.col("rank") > 1).partition_by("view", as_dict=True).items():
        missed = part["rank"].cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(-1, draws, 1)
        sample = gather([sums_and_counts(missed)], groups=groups)
        fractions[view] = np.concatenate([sample.mean, *proportion_interval(sample)])
    return fractions


def by_family(table: pl.DataFrame | None, criterion: str = RELATIVE_SHIFT_CRITERION) -> dict[str, Json]:
    """Returns the rows of one criterion of the table `tolerance`, by family; empty if there is no table."""
    if table is None:
        return {}
    return {row["family"]: row for row in table.filter(pl.col("criterion") == criterion).iter_rows(named=True)}
