"""`Table`: the declaration of a question's table."""

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
    """One table of a question; its `tables.py` has a tuple of them named `TABLES`.

    Args:
        name: Name of the table and its files.
        make: Reader → table; empty if the study lacks the data.
        reads: Names of tables that it reads through the reader; they are made before it.
        possible: Reader → whether a study that asked the question has it.
        takes: What a study must have for it, in words; "" = what the question's switches request.
        labels: For a table that takes long to make: what it is made from, in addition to the shards. While its file has
            equal labels and the shards are the same, it is read and not made again.
        of_images: Whether it has rows for every image. It is then written only as Parquet, and no output lists it.
        names: Columns that hold names of images; its files hold hashes instead if images may not be shown.
    """

    name: str
    make: "Callable[[Reader], pl.DataFrame]"
    reads: tuple[str, ...] = ()
    is_available: "Callable[[Reader], object]" = lambda _: True
    requires: str = ""
    labels: "Callable[[Reader], Mapping[str, str]] | None" = None
    per_image: bool = False
    names: tuple[str, ...] = ()


def tables_of(questions: Sequence[Question]) -> list[Table]:
    """Returns the tables of some questions, question by question, each after the tables that it reads."""
    parts = [part for question in questions if (part := question.part("tables")) is not None]
    tables: dict[str, Table] = {}
    for table in (table for part in parts for table in part.TABLES):
        if table.name in tables:
            raise UsageError(f"two questions have a table {table.name!r}; remove one of them")
        tables[table.name] = table
    order = graphlib.TopologicalSorter({name: [r for r in tables[name].reads if r in tables] for name in tables})
    return [tables[name] for name in order.static_order()]
