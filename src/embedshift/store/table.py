"""What a table of a question is."""

import graphlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from embedshift.errors import UsageError
from embedshift.registry import Question

if TYPE_CHECKING:
    from embedshift.store.reader import Reader


@dataclass(frozen=True)
class Table:
    """One table of a question; its `tables.py` has a tuple of them called `TABLES`.

    Args:
        name: Of the table and its files.
        make: Reader → table; what the study does not have gives an empty table.
        reads: Names of tables that it reads through the reader; they are made before it.
        possible: Whether a study that asked the question has it.
        takes: What a study must have for that, in words; "" = what the question's switches ask for.
        labels: For a table that takes long to make: what it is made from beside the shards. While its file has the same
            labels and the shards are the same, it is read and not made again.
        of_images: Whether it has rows for every image: then it is written as Parquet alone, and no output lists it.
        names: Columns that hold names of images; its files have hashes in their place where images may not be shown.
    """

    name: str
    make: "Callable[[Reader], pl.DataFrame]"
    reads: tuple[str, ...] = ()
    possible: "Callable[[Reader], object]" = lambda _: True
    takes: str = ""
    labels: "Callable[[Reader], Mapping[str, str]] | None" = None
    of_images: bool = False
    names: tuple[str, ...] = ()


def tables_of(questions: Sequence[Question]) -> list[Table]:
    """The tables of some questions, question by question, each after the tables that it reads."""
    parts = [part for question in questions if (part := question.part("tables")) is not None]
    tables: dict[str, Table] = {}
    for table in (table for part in parts for table in part.TABLES):
        if table.name in tables:
            raise UsageError(f"two questions have a table {table.name!r}; remove one of them")
        tables[table.name] = table
    order = graphlib.TopologicalSorter({name: [r for r in tables[name].reads if r in tables] for name in tables})
    return [tables[name] for name in order.static_order()]
