"""A table of LanceDB, read at the version that it has when it is opened."""

import contextlib
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from embedshift.errors import MissingExtra, UsageError, reason
from embedshift.sources.base import rows_at_once

# The number that the store gives a row: it tells whether a second reading has the order of the first.
_ROW = "_rowid"


def lancedb_library(feature: str) -> Any:
    """Imports LanceDB; raises MissingExtra if it is not installed."""
    try:
        return importlib.import_module("lancedb")
    except ImportError as error:
        raise MissingExtra(feature, "lancedb") from error


class LancedbTable:
    def __init__(self, address: str, folder: str, table: str) -> None:
        self._name = address
        library = lancedb_library(f"{address}: a table of LanceDB")
        known = sorted(path.stem for path in Path(folder).glob("*.lance"))
        if table not in known:
            tables = ", ".join(known[:8]) or "none"
            raise UsageError(f"{address}: no table {table!r} in {folder}; its tables are {tables}")
        with self._readable():
            self._table = library.connect(folder).open_table(table)
            self._table.checkout(self._table.version)
            self.schema = self._table.schema

    def keys(self, columns: Sequence[str]) -> pa.Table:
        with self._readable():
            there = [name for name in columns if name in self.schema.names]
            self._rows = self._table.search().select(there).with_row_id(True).to_arrow()
        return self._rows

    def arrays(self, column: str) -> Iterator[pa.Array]:
        kind, start = self.schema.field(column).type, 0
        count = rows_at_once(kind.list_size if pa.types.is_fixed_size_list(kind) else 0)
        with self._readable():
            for batch in self._table.search().select([column]).with_row_id(True).to_batches(count):
                if not batch[_ROW].equals(self._rows[_ROW][start : start + len(batch)].combine_chunks()):
                    raise UsageError(f"{self._name}: its rows came in another order; write it anew as one table")
                yield batch[column]
                start += len(batch)

    def state(self) -> str:
        return str(self._table.version)

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(f"{self._name}: cannot be read ({reason(error):.200})") from error
