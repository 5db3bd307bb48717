"""Strengths of changes: families at rising levels, strengths in words, and the tolerance, where a number is reached."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from embedshift.arrays import GroupNumbers, Values
from embedshift.config import Json, Level
from embedshift.statistics.intervals import proportion_interval
from embedshift.statistics.layout import sums_and_counts
from embedshift.statistics.sample import gather
from embedshift.statistics.summary import COSINE

# The views of families that are shown if all would be too many: `MeasuredFamily.nearest`.
ONE_LEVEL = "one level per family: the level nearest the tolerance, otherwise the strongest"
# Units that are a fraction, by their endings or beginnings → what stands after "%".
_FRACTIONS = {"/ side": "of the side", "/ range": "of the range"}
# Units that stand after their number, or around it.
_AROUND = {"degrees": "{} degrees", "±": "±{}", "x the paper's maximum": "{} x the paper's maximum"}
NOT_REACHED = "not reached"


@dataclass(frozen=True)
class MeasuredFamily:
    name: str
    unit: str
    zero: float
    parameters: tuple[float, ...]
    views: tuple[str, ...]

    @property
    def strengths(self) -> tuple[float, ...]:
        return (self.zero, *self.parameters)

    @property
    def has_strength(self) -> bool:
        return len(self.views) > 1

    @property
    def rises(self) -> bool:
        return self.parameters[-1] > self.zero

    def levels_at(self, parameters: ArrayLike) -> Values:
        strengths, wanted = np.asarray(self.strengths, np.float64), np.asarray(parameters, np.float64)
        sign = 1.0 if self.rises else -1.0
        return np.asarray(np.interp(sign * wanted, sign * strengths, np.arange(len(strengths))))

    def nearest(self, parameter: float | None) -> str:
        """Returns the view whose level is nearest to a strength; for None that of the strongest level."""
        return self.views[-1 if parameter is None else max(1, round(float(self.levels_at(parameter)))) - 1]


def families_of(augmentations: Mapping[str, Mapping[str, Any]]) -> tuple[MeasuredFamily, ...]:
    levels = [(Level(**entry["level"]), name) for name, entry in augmentations.items() if "level" in entry]
    families: list[MeasuredFamily] = []
    for family in dict.fromkeys(level.family for level, _ in levels):
        ordered = sorted((pair for pair in levels if pair[0].family == family), key=lambda pair: pair[0].number)
        first = ordered[0][0]
        parameters, views = tuple(level.parameter for level, _ in ordered), tuple(name for _, name in ordered)
        families.append(MeasuredFamily(family, first.unit, first.zero, parameters, views))
    return tuple(families)


def scaled(value: float, unit: str) -> str:
    """Formats a number without unit, with two figures or its whole part; in percent if the unit is a fraction."""
    number = 100 * value if is_fraction(unit) else value
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:#.2g}".rstrip(".")


def parameter(value: float, unit: str) -> str:
    """Formats the parameter of a level as it was chosen, without unit; in percent if the unit is a fraction."""
    return f"{100 * value if is_fraction(unit) else value:.3g}"


def is_fraction(unit: str) -> bool:
    return _fraction(unit) is not None


def axis_label(unit: str) -> str:
    return f"{unit}, %" if is_fraction(unit) else unit


def in_words(value: float | None, unit: str) -> str:
    if value is None or math.isnan(value):
        return NOT_REACHED
    number, fraction = scaled(value, unit), _fraction(unit)
    if fraction is not None:
        return f"{number} % {fraction}".rstrip()
    if " or " in unit:  # "g or 1/g"
        return unit.replace(unit.split()[0], number)
    return _AROUND.get(unit, f"{unit} {{}}").format(number).strip()


def interval_in_words(low: float | None, high: float | None, unit: str) -> str:
    if low is None and high is None:
        return ""
    percent = " %" if is_fraction(unit) else ""
    if low is None or high is None:
        return f"{scaled(high or low or 0.0, unit)}{percent} or {'more' if high is None else 'less'}"
    return f"{scaled(low, unit)} to {scaled(high, unit)}{percent}"


def with_interval_in_words(row: Mapping[str, Any]) -> str:
    interval = interval_in_words(row["low"], row["high"], row["unit"])
    return in_words(row["value"], row["unit"]) + (f" ({interval})" if interval else "")


def _fraction(unit: str) -> str | None:
    for ending, words in _FRACTIONS.items():
        if unit.endswith(ending):
            return words
    if unit == "hidden":
        return unit
    return unit.removeprefix("fraction").strip() if unit.split()[:1] == ["fraction"] else None


def outward(low: float, high: float, places: int) -> tuple[float, float]:
    """Rounds the ends of an interval away from its middle, so that what is printed holds the whole interval."""
    scale, noise = 10.0**places, 1e-6
    if math.isnan(low) or math.isnan(high):
        return low, high
    return math.floor(low * scale + noise) / scale + 0.0, math.ceil(high * scale - noise) / scale + 0.0


# The relative shift at which an embedding counts as moved too far: a tenth of the distance to another image.
RELATIVE_SHIFT = 0.1
# The proportion of views that no longer find their original at which a search counts as failing.
MISSED = 0.05
# If none of fewer images is missed, Clopper and Pearson's upper end is still above that.
LEAST_SAFE = math.ceil(math.log(0.025) / math.log(1 - MISSED))
RELATIVE_SHIFT_CRITERION, MISSED_CRITERION = f"relative shift {RELATIVE_SHIFT:g}", f"missed {100 * MISSED:g} %"
TOLERANCE_SCHEMA = pl.Schema(
    {"family": str, "unit": str, "criterion": str, "value": float, "low": float, "high": float, "reached": bool}
)


@dataclass(frozen=True)
class Tolerance:
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
    return pl.DataFrame(rows, schema=TOLERANCE_SCHEMA).fill_nan(None)


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
