"""Tables: their declaration by questions, their files, and their records in study.json."""

import graphlib
import logging
import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import polars as pl
import pyarrow.parquet as pq

from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.registry import Question
from embedshift.registry import questions as all_questions
from embedshift.store.files import file_checksum, write_atomically
from embedshift.store.groups import FILE as GROUPS
from embedshift.store.info import FILE, GroupsRecord, StudyInfo, TableRecord, read_info
from embedshift.store.naming import GALLERY, ImageNaming

# The source of a table: `Reader`, which itself reads tables.
Source = TypeVar("Source")

log = logging.getLogger(__name__)

# A row of a table: column → value.
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Rules:
    """Allowed rules of `check` about a table.

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


def rules_of_gains(*keys: str, ends: tuple[str, str] = ("ci_low", "ci_high")) -> Rules:
    """Returns rules for a table of alternatives judged by their difference from a baseline.

    Args:
        keys: Columns that identify rows.
        ends: The columns of the interval of `difference`.
    """
    return Rules(
        keys=keys,
        columns={"difference": ends},
        unit=lambda column, row: "fraction",
        limits=lambda column, row: (-1.0, 1.0),
    )


def rules_of_strengths(*keys: str) -> Rules:
    """Returns rules for a table of strengths, each in the unit of its row's family."""
    columns = {"value": ("low", "high")}
    return Rules(keys, columns, lambda column, row: str(row["unit"]), subject="family", needs_unit=True)


@dataclass(frozen=True)
class Table(Generic[Source]):
    """One table of a question; its `tables.py` has a tuple of them named `TABLES`.

    Args:
        name: Name of the table and its files.
        make: Reader → table; empty if the study lacks the data.
        reads: Names of tables that it reads through the reader; they are made before it.
        is_available: Reader → whether a study that asked the question has it.
        requires: Requirements on the study, in words; "" = those of the question's switches.
        settings: For a table that takes long to make: Reader → its sources in addition to the shards. While
            study.json records equal settings and the shards are the same, its file is read and not made again.
        per_image: Whether it has rows for every image. It is then written only as Parquet, and no output lists it.
        names: Columns that hold names of images; its files hold hashes instead if images may not be shown.
        doc: Its rows in one line. It documents the method of `Study` with the table's name.
        choices: The choices with which that method makes the table if the caller gives none; None = it reads the table
            as it was written.
        rules: Allowed rules of `check`; None = none.
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
    """Returns the tables of all installed questions by name; logs and skips packages that cannot be loaded."""
    tables: dict[str, InstalledTable] = {}
    for question in all_questions():
        try:
            tables |= {table.name: InstalledTable(question, table) for table in tables_of([question])}
        except UsageError as error:
            log.warning("%s", error)
    return tables


@dataclass(frozen=True)
class WrittenFiles:
    """Records in study.json of files written after the shards, and of the sources of tables."""

    files: dict[str, str] = field(default_factory=dict)
    tables: dict[str, TableRecord] = field(default_factory=dict)
    groups: GroupsRecord | None = None
    rows: str = ""


def table_path(folder: Path, name: str) -> Path:
    """Returns the path of a table's Parquet file."""
    return folder / "tables" / f"{name}.parquet"


def write_table(path: Path, table: pl.DataFrame) -> str:
    """Writes CSV or Parquet, by the path's ending; returns the SHA-256 of the file."""
    # Python and Arrow report the number of a system error, Polars only its message.
    if path.suffix == ".csv":
        return write_atomically(path, lambda hidden: hidden.write_text(table.write_csv(), encoding="utf-8"))
    return write_atomically(path, lambda hidden: pq.write_table(table.to_arrow(), hidden, compression="zstd"))


def read_table(folder: Path, name: str, info: StudyInfo, image_ids: Callable[[], Iterable[str]]) -> pl.DataFrame:
    """Reads a table; names of images replace the hashes in its file if images may not be shown."""
    path = table_path(folder, name)
    try:
        table = pl.read_parquet(path.absolute(), glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UsageError(
            f"{path}: cannot be read ({reason(error):.200}); delete it and make the report again"
        ) from error
    hidden = [column for column in info.tables[name].hidden if column in table.columns] if name in info.tables else []
    if not hidden:
        return table
    hashes = ImageNaming({}, pictures=False)
    names = {hashes.image(image_id): image_id for image_id in image_ids()}
    return table.with_columns(pl.col(hidden).replace(names))


def alteration(folder: Path, file: str, info: StudyInfo) -> str:
    """Returns why a file is not the one recorded in study.json; "" = it is."""
    if file not in info.files:
        return f"{FILE} does not record it"
    try:
        return "" if file_checksum(folder / file) == info.files[file] else "its content does not match its checksum"
    except EmbedshiftError as error:
        return str(error).removeprefix(f"{folder / file}: ")


def with_hashes(table: pl.DataFrame, columns: Sequence[str], image_ids: Container[str]) -> pl.DataFrame:
    """Returns a table with hashes in place of the names of images in some columns; other words stay."""
    hashes = ImageNaming({}, pictures=False)
    values = (name for column in columns for name in table[column].drop_nulls().unique())
    names = {name: hashes.image(name) for name in values if name in image_ids or name.startswith(GALLERY)}
    return table.with_columns(pl.col(columns).replace(names)) if names else table


def record_files(folder: Path, files: Mapping[str, str]) -> None:
    """Records files in study.json; forgets missing figures and reports."""
    info = read_info(folder)  # as it is now: a run may have written it meanwhile
    checksums = {**info.files, **files}
    gone = {name for name in checksums if is_figure_or_report(name) and not (folder / name).exists()}
    kept = {name: checksum for name, checksum in checksums.items() if name not in gone}
    info.model_copy(update={"files": kept}).write(folder)


def record_tables(folder: Path, written: WrittenFiles) -> None:
    """Records tables in study.json; forgets figures and report if the groups changed."""
    info = read_info(folder)
    of_groups = {name for name in info.files if is_figure_or_report(name) or name == GROUPS}
    gone = set() if written.groups == info.groups else of_groups
    files = {name: checksum for name, checksum in info.files.items() if name not in gone}
    changes = {"files": files | written.files, "tables": {**info.tables, **written.tables}}
    info.model_copy(update=changes | {"groups": written.groups, "rows": written.rows}).write(folder)


def is_figure_or_report(name: str) -> bool:
    """Returns whether a user may delete the file: `report` makes it and nothing reads it."""
    return name == "report.html" or name.startswith("figures/")
