"""`Reader`: a study on disk, for all steps after the shards. It imports no torch."""

import dataclasses
import logging
from dataclasses import dataclass

import polars as pl

from embedshift.errors import EmbedshiftError, UsageError
from embedshift.store.shard_reader import ShardReader, draw_ids
from embedshift.store.table import installed_tables
from embedshift.store.table_files import is_figure_or_report, read_table, table_path
from embedshift.store.tables import make_table

__all__ = ["Reader", "draw_ids"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Reader(ShardReader):
    """The results of a run, read from its folder."""

    _made_again: dict[str, pl.DataFrame] = dataclasses.field(default_factory=dict, init=False)

    def is_complete(self) -> bool:
        if not self.exists() or not self.info.complete:
            return False
        return all(table_path(self.folder, name).is_file() for name in self.table_names)

    def table(self, name: str) -> pl.DataFrame | None:
        """Returns a table by its name, made again if its file is not as it was written; None if there is none."""
        if name in self.made:
            return self.made[name]
        if name not in self.table_names or not table_path(self.folder, name).is_file():
            return None
        problem = self.altered(f"tables/{name}.parquet")
        if problem and name not in self._made_again:
            self._made_again[name] = self._make_again(name, problem)
        return self._made_again[name] if problem else read_table(self.folder, name, self.info, self.image_ids)

    def need(self, name: str) -> pl.DataFrame:
        """Returns a table by its name; UsageError if the study does not have it."""
        table = self.table(name)
        if table is None:
            raise UsageError(f"{self.folder}: no table {name!r} here; run the study again until it finishes")
        return table

    def _make_again(self, name: str, problem: str) -> pl.DataFrame:
        """Makes a table from the shards, in memory alone: only a run and a report write."""
        path, entry = table_path(self.folder, name), installed_tables().get(name)
        recorded = self.info.tables[name].settings if name in self.info.tables else {}
        try:
            if entry and entry.table.settings and recorded not in ({}, entry.table.settings(self)):
                raise UsageError(f"it was made with {', '.join(f'{key} {recorded[key]}' for key in recorded)}")
            table = make_table(self, name)
        except EmbedshiftError as error:
            words = f"{path}: {problem}, and it cannot be made again from the shards"
            raise UsageError(f"{words} ({error}); make the report again") from error
        usual = " with the usual settings" if entry and entry.question.choices and not entry.table.settings else ""
        words = "%s: %s; it was made again from the shards%s. Make the report again to write it"
        log.warning(words, path, problem, usual)
        return table

    def altered_tables(self) -> list[str]:
        files = {f"tables/{name}.parquet" for name in self.table_names}
        files |= {f"tables/{name}.csv" for name in self.table_names} & {*self.info.files}
        return sorted(name for name in files if not (self.folder / name).is_file() or self.altered(name))

    def is_reported(self) -> bool:
        """Returns whether `report.html` was made after the last run, and is as it was written, with the figures."""
        files = {name for name in self.info.files if is_figure_or_report(name) and (self.folder / name).exists()}
        return "report.html" in files and not any(self.altered(name) for name in files)
