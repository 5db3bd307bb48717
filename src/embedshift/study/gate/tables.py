"""The tables that rules can be about: their rows, units and intervals."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.registry import METRICS
from embedshift.registry.names import one_of
from embedshift.statistics.intervals import LEAST_IMAGES, clopper_pearson
from embedshift.statistics.summary import COSINE
from embedshift.statistics.tolerance import MISSED_CRITERION
from embedshift.study.gate.decision import Ends, Estimate
from embedshift.study.study import Study

RECALL = re.compile(r"recall@(\d+)")


@dataclass(frozen=True)
class Judged:
    """The rules that a table allows."""

    keys: tuple[str, ...]
    columns: Mapping[str, tuple[str, str] | None]
    paired: tuple[str, ...] = ()
    needs_unit: bool = False


_SPREAD = dict.fromkeys(("sd", "median", "q05", "q95"))
TABLES: dict[str, Judged] = {
    "summary": Judged(
        ("augmentation", "metric"),
        {"mean": ("ci_low", "ci_high"), "relative_shift": ("relative_shift_low", "relative_shift_high"), **_SPREAD},
        ("mean", "relative_shift"),
    ),
    "tolerance": Judged(("family", "criterion"), {"value": ("low", "high")}, ("value",), needs_unit=True),
    "search": Judged(("augmentation", "metric"), {"value": ("ci_low", "ci_high")}, ("value",)),
    "differences": Judged(("augmentation", "other", "metric"), {"difference": ("low", "high"), "effect": None}),
    "comparison": Judged(("augmentation", "metric", "study", "reference"), {"difference": ("ci_low", "ci_high")}),
}


def chosen_rows(table: pl.DataFrame, name: str, where: Mapping[str, Sequence[str | int]]) -> Iterator[Json]:
    """Yields the rows that a rule is about."""
    for key, values in where.items():
        known = table[key].drop_nulls().unique(maintain_order=True).to_list()
        for value in map(str, values):
            one_of(key, value, known)
        table = table.filter(pl.col(key).is_in([str(value) for value in values]))
    if table.is_empty():
        raise UsageError(f"the table {name} is empty")
    yield from table.iter_rows(named=True)


def unit_of(table: str, column: str, row: Mapping[str, Any]) -> str:
    """Returns the unit of a number; "" = a number without unit."""
    if table == "tolerance":
        return str(row["unit"])
    if table == "search" or column == "relative_shift":
        return "relative_shift"
    metric = METRICS.get(row["metric"])
    if metric is None or column == "effect":
        return ""
    return "relative_shift" if metric.binary else metric.unit


def check_unit(given: str | None, table: str, column: str, row: Mapping[str, Any]) -> None:
    """Raises UsageError if a rule names another unit than the number has."""
    unit = unit_of(table, column, row)
    if given is not None and given != unit:
        of = row["family"] if table == "tolerance" else row["metric"]
        raise UsageError(f"unit {given!r} is wrong: {column} of {of} {_in_words(unit)}")


def _in_words(unit: str) -> str:
    return f"has unit {unit!r}" if unit else "has no unit"


def check_bound(bound: float, table: str, column: str, row: Mapping[str, Any], *, relative: bool = False) -> None:
    """Raises UsageError for a bound outside the number's range, such as a percentage, or an impossible change."""
    metric = METRICS.get(row.get("metric", ""))
    least, most = -math.inf, math.inf
    if table == "search":
        least, most = 0.0, 1.0
    elif table == "summary" and column in ("mean", "median", "q05", "q95") and metric is not None:
        least, most = metric.low, metric.high
    if relative and bound >= most - least:
        raise UsageError(f"{row['metric']} ranges from {least:g} to {most:g} and cannot change by {bound:g} or more")
    if not relative and not least <= bound <= most:
        raise UsageError(f"the bound {bound:g} is outside the range of {row['metric']}, {least:g} to {most:g}")


def estimate(study: Study, table: str, column: str, row: Mapping[str, Any]) -> Estimate:
    """Returns a row's number with its interval."""
    if table == "tolerance":
        return _tolerance(study, row)
    ends = TABLES[table].columns[column]
    low, high = (math.nan, math.nan) if ends is None else (number(row[end]) for end in ends)
    value = number(row[column])
    is_fraction = table == "search" and RECALL.fullmatch(row["metric"]) is not None
    is_fraction |= (
        table == "summary" and column == "mean" and row["metric"] in METRICS and METRICS[row["metric"]].binary
    )
    return Estimate(value, low, high, images_of(study, row), _of_relative_shift(value) if is_fraction else None)


def images_of(study: Study, row: Mapping[str, Any]) -> int:
    """Returns how many images are behind a row's number."""
    info = study.reader().info
    if row.get("images") is not None:
        return int(row["images"])
    # n counts views.
    return info.counts.measured if row.get("n") is None else -(-row["n"] // info.draws)


def number(value: float | None) -> float:
    """Returns the value, or NaN for None."""
    return math.nan if value is None else float(value)


def _of_relative_shift(value: float) -> Ends:
    """Returns a function of n: Clopper and Pearson's interval of the same proportion with n images."""

    def ends(images: int) -> tuple[float, float]:
        low, high = clopper_pearson(value * images, images)
        return float(low), float(high)

    return ends


@dataclass(frozen=True)
class Strengths:
    """What is known about a tolerance in addition to its row."""

    strongest: float
    way: float
    rises: bool
    has_interval: bool
    images: int

    def beyond(self) -> float:
        """The value that stands for a tolerance above the strongest level."""
        return math.inf if self.rises else -math.inf


def strengths(study: Study, name: str, criterion: str) -> Strengths:
    """Returns a family's strengths by one criterion; relative shifts count all images, search counts the queries."""
    family = next(each for each in study.reader().families if each.name == name)
    rises, way = family.strengths[-1] > family.strengths[0], abs(family.parameters[-1] - family.zero)
    if criterion == MISSED_CRITERION:
        searched = study.search_ranks()["image_id"].n_unique()
        return Strengths(family.parameters[-1], way, rises, searched >= LEAST_IMAGES, searched)
    relative_shifts = study.summary().filter(pl.col("metric") == COSINE, pl.col("relative_shift").is_not_null())
    having = set(relative_shifts["augmentation"])
    measured = [each for each, view in zip(family.parameters, family.views, strict=True) if view in having]
    own = relative_shifts.filter(pl.col("augmentation").is_in(family.views))
    strongest = measured[-1] if measured else math.nan
    images = study.reader().info.counts.measured
    there = images >= LEAST_IMAGES and not own["relative_shift_low"].is_null().all()
    return Strengths(strongest, abs(strongest - family.zero), rises, there, images)


def _tolerance(study: Study, row: Mapping[str, Any]) -> Estimate:
    """Returns a tolerance as an estimate; one that is not reached, or a null end, lies above the strongest level."""
    known = strengths(study, row["family"], row["criterion"])
    images = known.images
    if math.isnan(known.strongest):
        return Estimate(math.nan, math.nan, math.nan, images)
    value = known.beyond() if row["value"] is None else row["value"]
    if not known.has_interval:
        return Estimate(value, math.nan, math.nan, images, edge=known.strongest)
    low, high = row["low"], row["high"]
    if known.rises:
        low, high = known.strongest if low is None else low, math.inf if high is None else high
    else:
        low, high = -math.inf if low is None else low, known.strongest if high is None else high
    return Estimate(value, low, high, images, edge=known.strongest)
