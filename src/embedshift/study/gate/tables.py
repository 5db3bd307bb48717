"""The tables that rules can be about: what a rule may say of each, and how its numbers are judged."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import polars as pl

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.registry import METRICS, Registry
from embedshift.registry.names import one_of
from embedshift.statistics.intervals import clopper_pearson
from embedshift.store.table import Row, Rules, installed_tables
from embedshift.study.paired import Estimate, PairedStudies
from embedshift.study.paired.differences import (
    RECALL,
    metric_difference,
    search_difference,
    shift_difference,
    tolerance_difference,
)
from embedshift.study.paired.estimate import Interval
from embedshift.study.paired.means import compare_means
from embedshift.study.paired.ratios import agreements
from embedshift.study.study import Study


def column_estimate(study: Study, table: Rules, column: str, row: Row) -> Estimate:
    ends = table.columns[column]
    value = _nan_if_none(row[column])
    low, high = (math.nan, math.nan) if ends is None else (_nan_if_none(row[end]) for end in ends)
    binomial = table.is_proportion(column, row) and study.reader().info.groups is None
    interval_at = proportion_interval(value) if binomial else None
    return Estimate(value, low, high, images_behind(study, row), interval_at)


def paired_estimate(paired: PairedStudies, table: Rules, column: str, row: Row) -> Estimate:
    """Returns a row's number of a table of both studies; intervals of ratios shrink on the scale of logarithms."""
    if column == "difference" and RECALL.fullmatch(row["metric"]):
        return search_difference(paired, row)
    value, low, high = (_nan_if_none(row[name]) for name in (column, *(table.columns[column] or ())))
    if column != "ratio":
        return Estimate(value, low, high, paired.group_count)

    def interval_at(images: int) -> Interval:
        root = math.sqrt(paired.group_count / images)
        return value * (low / value) ** root, value * (high / value) ** root

    return Estimate(value, low, high, paired.group_count, interval_at)


def refuse_impossible(estimate: Estimate, table: Rules, column: str, row: Row) -> None:
    """Raises UsageError for a number that cannot be: beyond its limits, or with ends of its interval exchanged."""
    least, most = (0.0, 1.0) if table.is_proportion(column, row) else table.limits(column, row)
    slack = 1e-6  # numbers are rounded
    problem = ""
    if estimate.value < least - slack or estimate.value > most + slack:
        problem = f"{column} {estimate.value:g} is beyond {least:g} and {most:g}"
    elif estimate.low > estimate.high:
        problem = f"the interval of {column} begins at {estimate.low:g} and ends at {estimate.high:g}"
    if problem:
        place = ", ".join(str(row[key]) for key in table.keys)
        raise UsageError(f"{place}: {problem}, which cannot be; make the report again, or update the metric's limits")


def images_behind(study: Study, row: Row) -> int:
    info = study.reader().info
    if info.groups is not None:
        return int(row.get("groups") or info.group_count)
    if row.get("images") is not None:
        return int(row["images"])
    # n counts views.
    return info.counts.measured if row.get("n") is None else -(-row["n"] // info.draws)


def proportion_interval(value: float) -> Callable[[int], Interval]:
    """Returns a function of n: Clopper and Pearson's interval of the same proportion with n images."""

    def interval_at(images: int) -> Interval:
        low, high = clopper_pearson(value * images, images)
        return float(low), float(high)

    return interval_at


def _nan_if_none(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _metric_unit(column: str, row: Row) -> str:
    metric = METRICS.get(row["metric"])
    if column == "relative_shift":
        return "fraction"
    if metric is None or column == "effect":
        return ""
    return "fraction" if metric.binary else metric.unit


def _metric_limits(column: str, row: Row) -> tuple[float, float]:
    metric = METRICS.get(row["metric"])
    if column == "sd" or (column == "relative_shift" and metric and metric.no_change in (metric.low, metric.high)):
        return 0.0, math.inf
    if metric is None or column not in ("mean", "median", "q05", "q95"):
        return -math.inf, math.inf
    return metric.low, metric.high


def _difference_limits(column: str, row: Row) -> tuple[float, float]:
    if column == "ratio":
        return 0.0, math.inf
    low, high = (0.0, 1.0) if RECALL.fullmatch(row["metric"]) else _metric_limits("mean", row)
    return (-math.inf, math.inf) if column == "effect" else (low - high, high - low)


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
        limits=_difference_limits,
    ),
    "comparison": Rules(
        keys=("augmentation", "metric"),
        columns={"difference": ("ci_low", "ci_high"), "ratio": ("ratio_low", "ratio_high")},
        unit=_metric_unit,
        limits=_difference_limits,
    ),
    "agreement": Rules(
        keys=("metric",), columns={"value": ("ci_low", "ci_high")}, limits=lambda column, row: (-1.0, 1.0)
    ),
}

# Tables of a study and its reference → how they are made.
OF_BOTH: Mapping[str, Callable[[PairedStudies], pl.DataFrame]] = {
    "comparison": lambda paired: compare_means(paired)[0],
    "agreement": agreements,
}
# Tables with columns that can be compared with a reference → how.
DIFFERENCES: Mapping[str, Mapping[str, Callable[[PairedStudies, Row], Estimate]]] = {
    "summary": {"mean": metric_difference, "relative_shift": shift_difference},
    "tolerance": {"value": tolerance_difference},
    "search": {"value": search_difference},
}


def _add_tables() -> None:
    declared = {name: entry.table.rules for name, entry in installed_tables().items() if entry.table.rules is not None}
    for name, rules in (CORE | declared).items():
        TABLES.add(name, rules)


TABLES: Registry[Rules] = Registry("table", _add_tables)


def chosen_rows(table: pl.DataFrame, name: str, where: Mapping[str, Sequence[str | int]]) -> Iterator[Json]:
    """Yields the rows that a rule is about; UsageError if no row has one of the values, or the table is empty."""
    for key, values in where.items():
        column, wanted = pl.col(key).cast(pl.String), [str(value) for value in values]
        present = table.select(column).to_series().drop_nulls().unique(maintain_order=True).to_list()
        for value in wanted:
            one_of(key, value, present)
        table = table.filter(column.is_in(wanted))
    if table.is_empty():
        raise UsageError(f"the table {name} is empty")
    yield from table.iter_rows(named=True)
