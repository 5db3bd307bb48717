"""`Reader`: a study on disk, for all steps after the shards. It imports no torch."""

from dataclasses import dataclass

import polars as pl

from embedshift.errors import UsageError
from embedshift.store.shard_reader import ShardReader, draw_ids
from embedshift.store.table_files import is_figure_or_report, read_table, table_path

__all__ = ["Reader", "draw_ids"]


@dataclass(frozen=True, eq=False)
class Reader(ShardReader):
    """The results of a run, read from its folder."""

    def is_complete(self) -> bool:
        if not self.exists() or not self.info.complete:
            return False
        return all(table_path(self.folder, name).is_file() for name in self.table_names)

    def table(self, name: str) -> pl.DataFrame | None:
        """Returns a table by its name; None if there is none, UsageError if its file is not as it was written."""
        if name in self.made:
            return self.made[name]
        path = table_path(self.folder, name)
        if name not in self.table_names or not path.is_file():
            return None
        if problem := self.altered(f"tables/{name}.parquet"):
            raise UsageError(f"{path}: {problem}; make the report again")
        return read_table(self.folder, name, self.info, self.image_ids)

    def need(self, name: str) -> pl.DataFrame:
        """Returns a table by its name; UsageError if the study does not have it."""
        table = self.table(name)
        if table is None:
            raise UsageError(f"{self.folder}: no table {name!r} here; run the study again until it finishes")
        return table

    def altered_tables(self) -> list[str]:
        files = {f"tables/{name}.parquet" for name in self.table_names}
        files |= {f"tables/{name}.csv" for name in self.table_names} & {*self.info.files}
        return sorted(name for name in files if not (self.folder / name).is_file() or self.altered(name))

    def is_reported(self) -> bool:
        """Returns whether `report.html` was made after the last run, and is as it was written, with the figures."""
        files = {name for name in self.info.files if is_figure_or_report(name) and (self.folder / name).exists()}
        return "report.html" in files and not any(self.altered(name) for name in files)
