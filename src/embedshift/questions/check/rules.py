"""The rules of `check`: the tables that they can be about, a rule as a pydantic model, and how a file is read."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator, model_validator

from embedshift.config import Json
from embedshift.config.safe_files import read_yaml
from embedshift.errors import UsageError
from embedshift.registry import COMMANDS, METRICS, Registry
from embedshift.registry.names import one_of
from embedshift.store.table import Row, Rules, installed_tables, rules_of_gains
from embedshift.study.paired import Estimate, PairedStudies, differences
from embedshift.study.paired.means import compare_means

Operator = Literal["at_least", "at_most", "may_fall", "may_rise"]
OPERATORS: tuple[Operator, ...] = get_args(Operator)
RELATIVE = ("may_fall", "may_rise")
# Numbers of a search, from 0 to 1, that are no metrics of rows.
PROPORTIONS = ("recall@", "matched@")
LONGEST_TEXT, LARGEST_BOUND = 200, 1e12


def _metric_unit(column: str, row: Row) -> str:
    metric = METRICS.get(row["metric"])
    if column == "relative_shift" or (row["metric"].startswith(PROPORTIONS) and column == "difference"):
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
    low, high = (0.0, 1.0) if row["metric"].startswith(PROPORTIONS) else _metric_limits("mean", row)
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
        columns={"difference": ("low", "high"), "ratio": ("ratio_low", "ratio_high"), "effect": None},
        unit=_metric_unit,
        limits=_difference_limits,
    ),
    "comparison": Rules(
        keys=("augmentation", "metric"),
        columns={"difference": ("ci_low", "ci_high"), "ratio": ("ratio_low", "ratio_high")},
        unit=_metric_unit,
        limits=_difference_limits,
    ),
    "upgrade": rules_of_gains("deployment", "augmentation", "metric", ends=("difference_low", "difference_high")),
    "agreement": Rules(
        keys=("metric",), columns={"value": ("ci_low", "ci_high")}, limits=lambda column, row: (-1.0, 1.0)
    ),
}


def _upgrade(paired: PairedStudies) -> pl.DataFrame:
    table: pl.DataFrame = COMMANDS["upgrade"].part("result").upgrade_table(paired)
    return table


# Tables of a study and its reference → how they are made.
OF_BOTH: Mapping[str, Callable[[PairedStudies], pl.DataFrame]] = {
    "comparison": lambda paired: compare_means(paired)[0],
    "agreement": differences.agreements,
    "upgrade": _upgrade,
}
# Tables with columns that can be compared with a reference → how.
DIFFERENCES: Mapping[str, Mapping[str, Callable[[PairedStudies, Row], Estimate]]] = {
    "summary": {"mean": differences.metric_difference, "relative_shift": differences.shift_difference},
    "tolerance": {"value": differences.tolerance_difference},
    "search": {"value": differences.search_difference},
}


def _add_tables() -> None:
    declared = {name: entry.table.rules for name, entry in installed_tables().items() if entry.table.rules is not None}
    for name, rules in (CORE | declared).items():
        TABLES.add(name, rules)


TABLES: Registry[Rules] = Registry("table", _add_tables)


def _text(value: Any, info: ValidationInfo) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > LONGEST_TEXT:
        raise UsageError(f"{info.field_name}: give one line of text, at most {LONGEST_TEXT} characters")
    return value


Text = Annotated[str, BeforeValidator(_text)]


class Rule(BaseModel):
    """A bound on the numbers of some rows of a table. Its validators raise UsageError, which pydantic passes on."""

    model_config = ConfigDict(frozen=True)

    number: int
    table: str
    column: Text
    operator: Operator
    bound: float
    where: dict[str, tuple[str | int, ...]]
    judge: Text = "interval"
    unit: Text | None = None
    name: Text = ""

    @field_validator("bound", mode="before")
    @classmethod
    def _number(cls, value: Any, info: ValidationInfo) -> float:
        operator = info.data["operator"]
        try:
            number = float(value)  # YAML reads 1e-3 as text
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        if isinstance(value, bool) or not abs(number) <= LARGEST_BOUND:
            raise UsageError(f"{operator}: give a number, not {value!r:.60}")
        if operator in RELATIVE and number < 0:
            raise UsageError(f"{operator}: give 0 or more, not {number:g}")
        return number

    @field_validator("where", mode="before")
    @classmethod
    def _filters(cls, where: Mapping[str, Any]) -> dict[str, list[Any]]:
        filters = {key: given if isinstance(given, list) else [given] for key, given in where.items()}
        for key, values in filters.items():
            if not values or not all(isinstance(value, str | int) and not isinstance(value, bool) for value in values):
                raise UsageError(f"{key}: give a name or a list of names; put names such as yes or off in quotes")
        return filters

    @model_validator(mode="after")
    def _fits_the_table(self) -> "Rule":
        column, table, compared = self.column, self.checked_table, DIFFERENCES.get(self.table, {})
        one_of("column", column, list(table.columns))
        one_of("judge", self.judge, ("interval", "value"))
        if self.judge == "interval" and table.columns[column] is None:
            raise UsageError(f"{column} has no interval; write 'judge: value'")
        if self.is_relative and column not in compared:
            paired = f", except {', '.join(compared)}" if compared else ""
            raise UsageError(f"{self.table} cannot be compared with a reference{paired}; use at_least or at_most")
        if self.unit is None and table.needs_unit:
            raise UsageError(
                f"{self.table} needs 'unit', because some units, such as quality, fall as the change gets stronger"
            )
        return self

    @property
    def checked_table(self) -> Rules:
        return TABLES[self.table]

    @property
    def is_relative(self) -> bool:
        return self.operator in RELATIVE

    @property
    def needs_reference(self) -> bool:
        return self.is_relative or self.table in OF_BOTH

    @property
    def is_least(self) -> bool:
        return self.operator in ("at_least", "may_fall")

    @property
    def limit(self) -> float:
        """The bound on the number itself, or on the difference from the reference."""
        return -self.bound if self.operator == "may_fall" else self.bound

    @property
    def same(self) -> float | None:
        """The number that means no difference from the reference; None for a rule without one."""
        if not self.needs_reference or self.table == "agreement":
            return None
        return 1.0 if self.column == "ratio" and not self.is_relative else 0.0

    @property
    def title(self) -> str:
        words = self.operator.replace("_", " ") + (" by" if self.is_relative else "")
        return self.name or f"{self.table}: {self.column} {words} {self.bound:.10g}"

    def check_row(self, row: Row) -> None:
        subject, unit = row[self.checked_table.subject], self.checked_table.unit(self.column, row)
        if self.unit not in (None, unit):
            words = f"has unit {unit!r}" if unit else "has no unit"
            raise UsageError(f"unit {self.unit!r} is wrong: {self.column} of {subject} {words}")
        low, high = self.checked_table.limits(self.column, row)
        if self.is_relative and self.bound >= high - low:
            raise UsageError(f"{subject} ranges from {low:g} to {high:g} and cannot change by {self.bound:g} or more")
        is_least = self.operator == "at_least"
        if not self.is_relative and (self.bound <= low if is_least else self.bound >= high):
            words = f"{self.column} of {subject} ranges from {low:g} to {high:g}"
            raise UsageError(f"{words}, so that {self.operator} {self.bound:g} cannot fail")
        if not self.is_relative and not low <= self.bound <= high:
            raise UsageError(f"the bound {self.bound:g} is outside the range of {subject}, {low:g} to {high:g}")


def read_rules(file: Path) -> list[Rule]:
    content = read_yaml(file)
    if not isinstance(content, dict) or set(content) != {"rules"} or not isinstance(content["rules"], list):
        raise UsageError(f"{file}: the file must contain 'rules:' with a list of rules, and nothing else")
    try:
        return list(as_rules(content["rules"]))
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error


def as_rules(entries: Sequence[Any]) -> Iterator[Rule]:
    if not entries:
        raise UsageError("the list of rules is empty")
    for number, entry in enumerate(entries, start=1):
        try:
            yield _rule(number, entry)
        except UsageError as error:
            raise UsageError(f"rule {number}: {error}") from error


def _rule(number: int, entry: Any) -> Rule:
    if not isinstance(entry, Mapping):
        raise UsageError("give 'key: value' lines")
    if "table" not in entry:
        raise UsageError(f"name its table: {', '.join(TABLES)}")
    one_of("table", str(entry["table"]), list(TABLES))
    table = TABLES[entry["table"]]
    texts = ("name", "table", "column", "unit", "judge")
    for key in entry:
        one_of("key", str(key), [*texts, *OPERATORS, *table.keys])
    operators = [name for name in OPERATORS if name in entry]
    if len(operators) != 1:
        words = f"; not {' and '.join(operators)}" if operators else ""
        raise UsageError(f"give one of {', '.join(OPERATORS)}{words}")
    fields = {"column": next(iter(table.columns))} | {key: entry[key] for key in texts if key in entry}
    where = {key: entry[key] for key in table.keys if key in entry}
    return Rule(number=number, operator=operators[0], bound=entry[operators[0]], where=where, **fields)


def chosen_rows(table: pl.DataFrame, name: str, where: Mapping[str, Sequence[str | int]]) -> Iterator[Json]:
    for key, values in where.items():
        column, wanted = pl.col(key).cast(pl.String), [str(value) for value in values]
        present = table.select(column).to_series().drop_nulls().unique(maintain_order=True).to_list()
        for value in wanted:
            one_of(key, value, present)
        table = table.filter(column.is_in(wanted))
    if table.is_empty():
        raise UsageError(f"the table {name} is empty")
    yield from table.iter_rows(named=True)
