"""`Table`: the declaration of a question's table."""

import graphlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import polars as pl

from embedshift.errors import UsageError
from embedshift.registry import Question

# What a table is made from: `Reader`, which itself reads tables.
Source = TypeVar("Source")


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
    """

    name: str
    make: Callable[[Source], pl.DataFrame]
    reads: tuple[str, ...] = ()
    is_available: Callable[[Source], object] = lambda _: True
    requires: str = ""
    settings: Callable[[Source], Mapping[str, str]] | None = None
    per_image: bool = False
    names: tuple[str, ...] = ()


def tables_of(questions: Sequence[Question]) -> list[Table[Any]]:
    """Returns the tables of some questions, question by question, each after the tables that it reads."""
    parts = [part for question in questions if (part := question.part("tables")) is not None]
    tables: dict[str, Table[Any]] = {}
    for table in (table for part in parts for table in part.TABLES):
        if table.name in tables:
            raise UsageError(f"two questions have a table {table.name!r}; remove one of them")
        tables[table.name] = table
    order = graphlib.TopologicalSorter({name: [r for r in tables[name].reads if r in tables] for name in tables})
    return [tables[name] for name in order.static_order()]
