"""The tables that rules can be about: their rows, units and intervals."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.registry import METRICS, Registry
from embedshift.registry.names import one_of
from embedshift.statistics.intervals import LEAST_IMAGES, clopper_pearson
from embedshift.statistics.summary import COSINE
from embedshift.statistics.tolerance import MISSED_CRITERION
from embedshift.store.table import Row, Rules, known_tables
from embedshift.study.gate.decision import Ends, Estimate
from embedshift.study.study import Study

RECALL = re.compile(r"recall@(\d+)")


# Tables with columns that can be compared with a reference → these columns.
PAIRED = {"summary": ("mean", "relative_shift"), "tolerance": ("value",), "search": ("value",)}


@dataclass(frozen=True)
class Judged(Rules):
    """The rules that a table allows."""

    paired: tuple[str, ...] = ()


def _metric_unit(column: str, row: Row) -> str:
    metric = METRICS.get(row["metric"])
    if column == "relative_shift":
        return "relative_shift"
    if metric is None or column == "effect":
        return ""
    return "relative_shift" if metric.binary else metric.unit


def _metric_limits(column: str, row: Row) -> tuple[float, float]:
    metric = METRICS.get(row["metric"])
    if metric is None or column not in ("mean", "median", "q05", "q95"):
        return -math.inf, math.inf
    return metric.low, metric.high


def _is_binary_mean(column: str, row: Row) -> bool:
    metric = METRICS.get(row["metric"])
    return column == "mean" and metric is not None and metric.binary


# Of the tables that belong to no question.
CORE = {
    "summary": Rules(
        keys=("augmentation", "metric"),
        columns={
            "mean": ("ci_low", "ci_high"),
            "relative_shift": ("relative_shift_low", "relative_shift_high"),
            **dict.fromkeys(("sd", "median", "q05", "q95")),
        },
        unit=_metric_unit,
        limits=_metric_limits,
        is_proportion=_is_binary_mean,
    ),
    "differences": Rules(
        keys=("augmentation", "other", "metric"),
        columns={"difference": ("low", "high"), "effect": None},
        unit=_metric_unit,
    ),
    "comparison": Rules(
        keys=("augmentation", "metric", "study", "reference"),
        columns={"difference": ("ci_low", "ci_high")},
        unit=_metric_unit,
    ),
}


def _add_tables() -> None:
    of_questions = {name: known.table.rules for name, known in known_tables().items() if known.table.rules is not None}
    for name, rules in (CORE | of_questions).items():
        TABLES.add(name, Judged(**vars(rules), paired=PAIRED.get(name, ())))


TABLES: Registry[Judged] = Registry("table", _add_tables)


def chosen_rows(table: pl.DataFrame, name: str, where: Mapping[str, Sequence[str | int]]) -> Iterator[Json]:
    """Yields the rows that a rule is about."""
    for key, values in where.items():
        column, wanted = pl.col(key).cast(pl.String), [str(value) for value in values]
        known = table.select(column).to_series().drop_nulls().unique(maintain_order=True).to_list()
        for value in wanted:
            one_of(key, value, known)
        table = table.filter(column.is_in(wanted))
    if table.is_empty():
        raise UsageError(f"the table {name} is empty")
    yield from table.iter_rows(named=True)


def unit_of(table: str, column: str, row: Row) -> str:
    """Returns the unit of a number; "" = a number without unit."""
    return TABLES[table].unit(column, row)


def check_unit(given: str | None, table: str, column: str, row: Row) -> None:
    """Raises UsageError if a rule names another unit than the number has."""
    unit = unit_of(table, column, row)
    if given is not None and given != unit:
        words = f"has unit {unit!r}" if unit else "has no unit"
        raise UsageError(f"unit {given!r} is wrong: {column} of {row[TABLES[table].subject]} {words}")


def check_bound(bound: float, table: str, column: str, row: Row, *, relative: bool = False) -> None:
    """Raises UsageError for a bound outside the number's range, such as a percentage, or an impossible change."""
    least, most = TABLES[table].limits(column, row)
    subject = row[TABLES[table].subject]
    if relative and bound >= most - least:
        raise UsageError(f"{subject} ranges from {least:g} to {most:g} and cannot change by {bound:g} or more")
    if not relative and not least <= bound <= most:
        raise UsageError(f"the bound {bound:g} is outside the range of {subject}, {least:g} to {most:g}")


def estimate(study: Study, table: str, column: str, row: Row) -> Estimate:
    """Returns a row's number with its interval."""
    if table == "tolerance":
        return _tolerance(study, row)
    ends = TABLES[table].columns[column]
    low, high = (math.nan, math.nan) if ends is None else (number(row[end]) for end in ends)
    value = number(row[column])
    is_proportion = TABLES[table].is_proportion(column, row)
    return Estimate(value, low, high, images_of(study, row), _of_relative_shift(value) if is_proportion else None)


def images_of(study: Study, row: Row) -> int:
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
        searched = study.table("search_ranks")["image_id"].n_unique()
        return Strengths(family.parameters[-1], way, rises, searched >= LEAST_IMAGES, searched)
    relative_shifts = study.summary().filter(pl.col("metric") == COSINE, pl.col("relative_shift").is_not_null())
    having = set(relative_shifts["augmentation"])
    measured = [each for each, view in zip(family.parameters, family.views, strict=True) if view in having]
    own = relative_shifts.filter(pl.col("augmentation").is_in(family.views))
    strongest = measured[-1] if measured else math.nan
    images = study.reader().info.counts.measured
    there = images >= LEAST_IMAGES and not own["relative_shift_low"].is_null().all()
    return Strengths(strongest, abs(strongest - family.zero), rises, there, images)


def _tolerance(study: Study, row: Row) -> Estimate:
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
