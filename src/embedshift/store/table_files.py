"""The files of tables: how they are written and read, and what study.json records of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.store.checksum import file_checksum
from embedshift.store.groups import FILE as GROUPS
from embedshift.store.info import FILE, GroupsRecord, StudyInfo, TableRecord, read_info
from embedshift.store.naming import ImageNaming
from embedshift.store.shards import write_atomically


@dataclass(frozen=True)
class WrittenFiles:
    """What study.json records of files that were written after the shards, and of what tables were made from."""

    files: dict[str, str] = field(default_factory=dict)
    tables: dict[str, TableRecord] = field(default_factory=dict)
    groups: GroupsRecord | None = None
    rows: str = ""


def table_path(folder: Path, name: str) -> Path:
    return folder / "tables" / f"{name}.parquet"


def write_table(path: Path, table: pl.DataFrame) -> str:
    # Python and Arrow give the number of a system error, which Polars has only in its message.
    if path.suffix == ".csv":
        return write_atomically(path, lambda hidden: hidden.write_text(table.write_csv(), encoding="utf-8"))
    return write_atomically(path, lambda hidden: pq.write_table(table.to_arrow(), hidden, compression="zstd"))


def read_table(folder: Path, name: str, info: StudyInfo, image_ids: Callable[[], Iterable[str]]) -> pl.DataFrame:
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
    """Returns why a file is not the one that study.json records; "" = it is."""
    if file not in info.files:
        return f"{FILE} does not record it"
    try:
        return "" if file_checksum(folder / file) == info.files[file] else "its content does not match its checksum"
    except EmbedshiftError as error:
        return str(error).removeprefix(f"{folder / file}: ")


def with_hashes(table: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    hashes = ImageNaming({}, pictures=False)
    names = {name: hashes.image(name) for column in columns for name in table[column].drop_nulls().unique()}
    return table.with_columns(pl.col(columns).replace(names)) if columns else table


def record_files(folder: Path, files: Mapping[str, str]) -> None:
    """Records files in study.json; forgets figures and a report that are gone."""
    info = read_info(folder)  # as it is now: a run may have written it meanwhile
    checksums = {**info.files, **files}
    gone = {name for name in checksums if is_figure_or_report(name) and not (folder / name).exists()}
    kept = {name: checksum for name, checksum in checksums.items() if name not in gone}
    info.model_copy(update={"files": kept}).write(folder)


def record_tables(folder: Path, written: WrittenFiles) -> None:
    """Records tables in study.json; with other groups than before, forgets the figures and the report."""
    info, files = read_info(folder), {}
    if written.groups == info.groups:
        files = dict(info.files)
    else:
        files = {name: info.files[name] for name in info.files if not (is_figure_or_report(name) or name == GROUPS)}
    changes = {"files": files | written.files, "tables": {**info.tables, **written.tables}}
    info.model_copy(update=changes | {"groups": written.groups, "rows": written.rows}).write(folder)


def is_figure_or_report(name: str) -> bool:
    return name == "report.html" or name.startswith("figures/")
