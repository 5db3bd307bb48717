"""Shards → tables: those of the core, and those of the questions, each after the tables that it reads."""

import dataclasses
import graphlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from embedshift.registry import Question
from embedshift.statistics.summary import ranking, summary
from embedshift.store.reader import Reader
from embedshift.store.shards import write_whole


@dataclass(frozen=True)
class Table:
    """One table of a question; its `tables.py` has a tuple of them called `TABLES`.

    Args:
        name: Of the table and its files.
        make: Reader → table; what the study does not have gives an empty table.
        reads: Names of tables that it reads through the reader; they are made before it.
    """

    name: str
    make: Callable[[Reader], pl.DataFrame]
    reads: tuple[str, ...] = ()


def tables_of(questions: Sequence[Question]) -> list[Table]:
    """The tables of some questions, question by question, each after the tables that it reads."""
    parts = [part for question in questions if (part := question.part("tables")) is not None]
    tables: dict[str, Table] = {table.name: table for part in parts for table in part.TABLES}
    order = graphlib.TopologicalSorter({name: [r for r in tables[name].reads if r in tables] for name in tables})
    return [tables[name] for name in order.static_order()]


def make_tables(reader: Reader) -> dict[str, pl.DataFrame]:
    """Every table of a study, made from its shards."""
    described = summary(reader.rows(), reader.augmentations, reader.metrics, seed=reader.info.seed)
    made = {"summary": described, "ranking": ranking(described)}
    for table in tables_of(reader.questions):
        made[table.name] = table.make(dataclasses.replace(reader, made=made))
    return made


def write_tables(reader: Reader) -> None:
    """Rebuilds every table from the shards, as CSV and Parquet."""
    made = make_tables(reader)
    (reader.folder / "tables").mkdir(exist_ok=True)
    for name, table in made.items():
        write_whole(reader.folder / "tables" / f"{name}.csv", table.write_csv)
        write_whole(reader.folder / "tables" / f"{name}.parquet", table.write_parquet)
