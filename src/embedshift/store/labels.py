"""Labels in the files of tables that take long to compute: they say what a table was made from.

A table is kept while its labels stay the same.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from embedshift.errors import UsageError, reason
from embedshift.store.info import read_info
from embedshift.store.naming import ImageNaming
from embedshift.store.parts import parts
from embedshift.store.shards import write_whole

_SHARDS, _HIDDEN = b"embedshift.shards", b"embedshift.hidden"
_PREFIX = "embedshift.label."


def shards_hash(folder: Path) -> str:
    """Returns a hash over the rows and sums of all shards of a study; equal for two runs of one study."""
    found = parts(folder, read_info(folder))
    return hashlib.sha256("\n".join(part.digests.rows for part in found).encode()).hexdigest()


def table_path(folder: Path, name: str) -> Path:
    """Returns the path of a table's Parquet file."""
    return folder / "tables" / f"{name}.parquet"


def labels_of(folder: Path, name: str) -> dict[str, str]:
    """Returns what a table was made from, in addition to the current shards."""
    if made_from(folder, name) != shards_hash(folder):
        return {}
    metadata = _metadata(folder, name)
    texts = {key.decode("utf-8", "replace"): value.decode() for key, value in metadata.items()}
    return {key.removeprefix(_PREFIX): value for key, value in texts.items() if key.startswith(_PREFIX)}


def made_from(folder: Path, name: str) -> str:
    """Returns the hash of the shards from which a table was made; "" if its file does not have it."""
    return _metadata(folder, name).get(_SHARDS, b"").decode()


def read_table(folder: Path, name: str, image_ids: Callable[[], Iterable[str]]) -> pl.DataFrame:
    """Reads a table, and restores the names of images if its file holds their hashes."""
    path = table_path(folder, name)
    try:
        table = pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UsageError(
            f"{path}: cannot be read ({reason(error):.200}); delete it and make the report again"
        ) from error
    hidden = _metadata(folder, name).get(_HIDDEN, b"").decode()
    if not hidden:
        return table
    hashes = ImageNaming({}, pictures=False)
    names = {hashes.image(image_id): image_id for image_id in image_ids()}
    return table.with_columns(pl.col(hidden.split(",")).replace(names))


def with_hashes(table: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Replaces the names of images in a table by hashes."""
    hashes = ImageNaming({}, pictures=False)
    names = {name: hashes.image(name) for column in columns for name in table[column].drop_nulls().unique()}
    return table.with_columns(pl.col(columns).replace(names)) if columns else table


def write_labelled(
    folder: Path, name: str, table: pl.DataFrame, labels: Mapping[str, str], hidden: Sequence[str] = ()
) -> None:
    """Writes a table's Parquet file with its labels, and which columns hold hashes of names."""
    said: dict[Any, Any] = {_SHARDS: shards_hash(folder), _HIDDEN: ",".join(hidden)}
    said |= {_PREFIX + key: value for key, value in labels.items()}
    arrow = table.to_arrow()
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **said})
    write_whole(table_path(folder, name), lambda path: pq.write_table(arrow, path, compression="zstd"))


def _metadata(folder: Path, name: str) -> Mapping[bytes, bytes]:
    """Returns the metadata of a table's file; empty if it does not exist or is no Parquet."""
    try:
        return pq.read_metadata(table_path(folder, name)).metadata or {}
    except (OSError, ValueError):
        return {}
