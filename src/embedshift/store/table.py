"""`Table`: the declaration of a question's table."""

import graphlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import polars as pl

from embedshift.errors import UsageError
from embedshift.registry import Question
from embedshift.registry import questions as all_questions

# What a table is made from: `Reader`, which itself reads tables.
Source = TypeVar("Source")

log = logging.getLogger(__name__)


# A row of a table: column → value.
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Rules:
    """What rules of `check` may say about a table.

    Args:
        keys: Columns that identify rows.
        columns: Number column → the two columns of its interval, None = it has none; the default column first.
        unit: Function of a number column and a row → the number's unit; "" = without unit.
        limits: The same → its least and greatest possible value.
        is_proportion: The same → whether it is a proportion of images.
        subject: The key column that messages about a row's number name.
        needs_unit: Whether a rule must name the unit.
    """

    keys: tuple[str, ...]
    columns: Mapping[str, tuple[str, str] | None]
    unit: Callable[[str, Row], str] = lambda column, row: ""
    limits: Callable[[str, Row], tuple[float, float]] = lambda column, row: (-math.inf, math.inf)
    is_proportion: Callable[[str, Row], bool] = lambda column, row: False
    subject: str = "metric"
    needs_unit: bool = False


@dataclass(frozen=True)
class Table(Generic[Source]):
    """One table of a question; its `tables.py` has a tuple of them named `TABLES`.

    Args:
        name: Name of the table and its files.
        make: Reader → table; empty if the study lacks the data.
        reads: Names of tables that it reads through the reader; they are made before it.
        is_available: Reader → whether a study that asked the question has it.
        requires: What a study must have for it, in words; "" = what the question's switches request.
        settings: For a table that takes long to make: Reader → what it is made from, in addition to the shards. While
            study.json records equal settings and the shards are the same, its file is read and not made again.
        per_image: Whether it has rows for every image. It is then written only as Parquet, and no output lists it.
        names: Columns that hold names of images; its files hold hashes instead if images may not be shown.
        doc: Its rows in one line. It documents the method of `Study` with the table's name.
        choices: The choices with which that method makes the table if the caller gives none; None = it reads the table
            as it was written.
        rules: What rules of `check` may say about it; None = nothing.
    """

    name: str
    make: Callable[[Source], pl.DataFrame]
    reads: tuple[str, ...] = ()
    is_available: Callable[[Source], object] = lambda _: True
    requires: str = ""
    settings: Callable[[Source], Mapping[str, str]] | None = None
    per_image: bool = False
    names: tuple[str, ...] = ()
    doc: str = ""
    choices: object = None
    rules: Rules | None = None


def tables_of(questions: Sequence[Question]) -> list[Table[Any]]:
    """Returns the tables of some questions, question by question, each after the tables that it reads."""
    modules = [module for question in questions if (module := question.part("tables")) is not None]
    tables: dict[str, Table[Any]] = {}
    for table in (table for module in modules for table in module.TABLES):
        if table.name in tables:
            raise UsageError(f"two questions have a table {table.name!r}; remove one of them")
        tables[table.name] = table
    order = graphlib.TopologicalSorter(
        {name: [read for read in tables[name].reads if read in tables] for name in tables}
    )
    return [tables[name] for name in order.static_order()]


class InstalledTable(NamedTuple):
    """A table and the question that declares it."""

    question: Question
    table: Table[Any]


def installed_tables() -> dict[str, InstalledTable]:
    """Returns the tables of all installed questions by name; logs and skips those of packages that cannot be loaded."""
    tables: dict[str, InstalledTable] = {}
    for question in all_questions():
        try:
            tables |= {table.name: InstalledTable(question, table) for table in tables_of([question])}
        except UsageError as error:
            log.warning("%s", error)
    return tables
