"""A table of PostgreSQL with vectors of pgvector, read in one read-only transaction."""

import contextlib
import importlib
import itertools
import struct
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.errors import MissingExtra, UsageError
from embedshift.sources.base import rows_at_once

# Types of vectors: the numbers after four bytes, and how they are given.
_VECTORS = {"vector": (">f4", pa.float32()), "halfvec": (">f2", pa.float16())}
_BITS = ("bit", "varbit")
# Types that stay what they are; all others are read as text.
_KEPT = {"int2": pa.int64(), "int4": pa.int64(), "int8": pa.int64(), "date": pa.date32()}
_KEPT |= {"timestamp": pa.timestamp("us"), "timestamptz": pa.timestamp("us", "UTC")}
# The longest vectors of pgvector, for a column that has no length; rows of keys at once; seconds to wait for a server.
MOST_DIM, KEYS, PATIENCE = 16_000, 10_000, 10
# One plan for every reading of a table, so that its rows always come in the order of their pages.
_IN_ORDER = {
    "synchronize_seqscans": "off", "enable_indexscan": "off", "enable_indexonlyscan": "off",
    "enable_bitmapscan": "off", "max_parallel_workers_per_gather": "0",
}  # fmt: skip
_FIND = """
SELECT a.attname, t.typname, a.atttypmod, n.nspname, c.relname, c.oid
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f')
AND (n.nspname || '.' || c.relname = %(table)s OR c.relname = %(table)s AND pg_table_is_visible(c.oid))
ORDER BY c.relname = %(table)s DESC, c.oid, a.attnum
"""
_STATE = """
SELECT coalesce((SELECT concat_ws(' ', pg_relation_filenode(relid), n_tup_ins, n_tup_upd, n_tup_del)
FROM pg_stat_all_tables WHERE relid = %s), pg_current_snapshot()::text)
"""


def psycopg_library(feature: str) -> Any:
    """Imports psycopg; raises MissingExtra if it is not installed."""
    try:
        importlib.import_module("psycopg.sql")
        return importlib.import_module("psycopg")
    except ImportError as error:
        raise MissingExtra(feature, "pgvector") from error


class PostgresqlTable:
    def __init__(self, address: str, server: Mapping[str, Any], table: str) -> None:
        self._name, self._numbers = address, itertools.count()
        self._library = psycopg_library(f"{address}: a table of PostgreSQL")
        with self._readable():
            connection = self._library.connect(**server, connect_timeout=PATIENCE, application_name="embedshift")
            weakref.finalize(self, connection.close)
            connection.isolation_level = self._library.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            for name, value in _IN_ORDER.items():
                connection.execute("SELECT set_config(%s, %s, true)", (name, value))
            found = connection.execute(_FIND, {"table": table}).fetchall()
        if not found:
            words = "name it as SCHEMA.TABLE, in the letters that it was made with"
            raise UsageError(f"{address}: no table {table!r} in the database; {words}")
        *place, self._relation = found[0][3:]
        own = [row for row in found if row[-1] == self._relation]
        self._connection, self._table = connection, self._library.sql.Identifier(*place)
        self._types = {name: (kind, length) for name, kind, length, *_ in own}
        self.schema = pa.schema({name: _arrow(kind) for name, (kind, _) in self._types.items()})

    def keys(self, columns: Sequence[str]) -> pa.Table:
        there = [name for name in columns if name in self._types]
        self._ids = there[:1]
        schema = pa.schema([self.schema.field(name) for name in there] + [pa.field("", pa.null())])
        parts = [
            pa.record_batch([*map(pa.array, zip(*rows, strict=True), schema.types)], schema=schema)
            for rows in self._selected([*map(self._column, there), self._library.sql.NULL], KEYS)
        ]
        self._keys = pa.Table.from_batches(parts, schema)
        return self._keys

    def arrays(self, column: str) -> Iterator[pa.Array]:
        sql, (kind, length), start = self._library.sql, self._types[column], 0
        asked = [*map(self._column, self._ids), sql.Identifier(column)]
        for rows in self._selected(asked, rows_at_once(length if length > 0 else MOST_DIM)):
            *ids, cells = zip(*rows, strict=True)
            for name, given in zip(self._ids, ids, strict=True):
                if [*given] != self._keys[name][start : start + len(rows)].to_pylist():
                    raise UsageError(f"{self._name}: its rows came in another order; give a table, not a view")
            yield _vectors(kind, cells)
            start += len(rows)

    def state(self) -> str:
        """Returns the server's counts of changed rows; of a view, which has none, the snapshot."""
        with self._readable():
            return str(self._connection.execute(_STATE, [self._relation]).fetchone())

    def _column(self, name: str) -> Any:
        kind = self._types[name][0]
        return self._library.sql.SQL("{}" if kind in _KEPT else "{}::text").format(self._library.sql.Identifier(name))

    def _selected(self, columns: Sequence[Any], count: int) -> Iterator[list[tuple[Any, ...]]]:
        sql = self._library.sql
        query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(columns), self._table)
        with self._readable():
            cursor = self._connection.cursor(f"embedshift {next(self._numbers)}")
            cursor.execute(query, binary=True)
            while rows := cursor.fetchmany(count):
                yield rows
            cursor.close()

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except self._library.errors.InsufficientPrivilege as error:
            raise UsageError(f"{self._name}: {_line(error)}; ask for the right to read it (GRANT SELECT)") from error
        except self._library.OperationalError as error:
            words = "see that the server runs and lets the user in"
            raise UsageError(f"{self._name}: no answer ({_line(error)}); {words}") from error
        except self._library.Error as error:
            raise UsageError(f"{self._name}: cannot be read ({_line(error)})") from error


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _arrow(kind: str) -> pa.DataType:
    if kind in _VECTORS:
        return pa.list_(_VECTORS[kind][1])
    return pa.list_(pa.int8()) if kind in _BITS else _KEPT.get(kind, pa.string())


def _signs(cell: bytes) -> NDArray[np.int8]:
    (count,) = struct.unpack_from(">i", cell)
    return 2 * np.unpackbits(np.frombuffer(cell, np.uint8, offset=4), count=count).astype(np.int8) - 1


def _vectors(kind: str, cells: Sequence[bytes | None]) -> pa.Array:
    """Returns lists of numbers from what the server sends; without numbers where there is none, and bits as ±1."""
    if kind in _BITS:
        numbers = [_signs(cell) for cell in cells if cell is not None]
    else:
        numbers = [np.frombuffer(cell, _VECTORS[kind][0], offset=4) for cell in cells if cell is not None]
    own = iter(numbers)
    lengths = [0 if cell is None else len(next(own)) for cell in cells]
    flat = np.concatenate(numbers) if numbers else np.zeros(0, np.int8)
    native = flat.astype(flat.dtype.newbyteorder("="))
    return pa.ListArray.from_arrays(pa.array(np.cumsum([0, *lengths]), pa.int32()), pa.array(native))
