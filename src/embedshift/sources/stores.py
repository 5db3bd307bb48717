"""Addresses of vectors in stores: `lancedb:DIR/TABLE` and `postgresql://USER@HOST:PORT/DB?table=T`."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow as pa

from embedshift.errors import UsageError
from embedshift.sources.base import COLUMNS

POSTGRESQL, LANCEDB = "postgresql://", "lancedb:"
# What an address may ask for beside its table: the names of columns, where a command has no options for them.
_ASKED = ("table", *COLUMNS)


class Store(Protocol):
    """One table of a store, as it is when it is opened: what is written later is not seen."""

    schema: pa.Schema

    def keys(self, columns: Sequence[str]) -> pa.Table:
        """Returns some columns, and one more, so that a table without them has its rows."""
        ...

    def arrays(self, column: str, /) -> Iterator[pa.Array]:
        """Yields a column of vectors in the same order, some MB at a time."""
        ...

    def state(self) -> str:
        """Returns a text that changes with the table."""
        ...


def address_of(given: object) -> str | None:
    """Returns the address of a table in a store, None for anything else; a `Path` of one has lost a slash.

    Example:
        >>> address_of("postgresql:/me@localhost/shop?table=items"), address_of("items.parquet")
        ('postgresql://me@localhost/shop?table=items', None)
    """
    text = os.fspath(given) if isinstance(given, str | os.PathLike) else ""
    if match := re.match(r"postgres(ql)?:/+", text):
        return POSTGRESQL + text[match.end() :]
    return text if text.startswith(LANCEDB) else None


def located(given: str | os.PathLike[str]) -> str:
    """Returns the absolute path of a file or folder, or an address as it is."""
    address = address_of(given)
    if address is not None and not address.startswith(LANCEDB):
        return address
    path = os.fspath(given).removeprefix(LANCEDB)
    return (LANCEDB if address else "") + os.path.abspath(os.path.expanduser(path))


def is_there(given: str) -> bool:
    """Whether a file or folder exists; of an address it is not asked."""
    return address_of(given) is not None or Path(given).exists()


def state_of(address: str) -> str:
    """Returns a text that changes with a table; raises UsageError if it cannot be opened."""
    return open_store(address)[1].state()


def open_store(address: str) -> tuple[str, Store, Mapping[str, str]]:
    """Opens a table, and returns its name in messages and the columns that its address names.

    Raises:
        UsageError: The address is none, or holds a password; the table cannot be opened.
    """
    place, _, query = address.partition("?")
    words = f"{LANCEDB}DIR/TABLE or {POSTGRESQL}USER@HOST:PORT/DB?table=TABLE"
    asked = dict(parse_qsl(query, keep_blank_values=True))
    parts = urlsplit(place) if place.startswith(POSTGRESQL) else None
    # Neither the place nor an unknown name is repeated: it may be a password.
    if parts is not None and ":" in parts.netloc.rpartition("@")[0]:
        raise UsageError("an address holds no password: leave it out, and put it into PGPASSWORD or ~/.pgpass")
    if unknown := [name for name in asked if name not in _ASKED]:
        raise UsageError(f"the address of a table has {len(unknown)} unknown names; it may have {', '.join(_ASKED)}")
    columns = {name: column for name, column in asked.items() if name != "table"}
    if parts is None:
        from embedshift.sources.lancedb_table import LancedbTable

        folder, _, table = place.removeprefix(LANCEDB).rpartition("/")
        if not folder or not table:
            raise UsageError(f"{address}: give {words}")
        return address, LancedbTable(address, os.path.expanduser(folder), table), columns
    from embedshift.sources.postgresql_table import PostgresqlTable

    try:
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{address}: its port is no number") from error
    named: Any = {"host": parts.hostname, "port": port, "user": parts.username, "dbname": parts.path.strip("/")}
    if not asked.get("table"):
        raise UsageError(f"{address}: names no table; give {words}")
    server = {name: unquote(str(value)) for name, value in named.items() if value}
    return address, PostgresqlTable(address, server, asked["table"]), columns
