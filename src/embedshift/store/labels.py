"""Tables that take long to make: their files say what they were made from, and while that is the same they are kept."""

import functools
import hashlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from embedshift.store.shards import SUMS_KEY, write_whole

_SHARDS = b"embedshift.shards"
_PREFIX = "embedshift.label."
# Bytes of each column of a shard that are read for its hash.
_BEGINNING = 4_096


def shards_hash(folder: Path) -> str:
    """A hash over all shards of a study, without reading all of them; the same for two runs of one study.

    It is over what Parquet says of the columns (sizes, least and greatest values), over the sums that were added up of
    the embeddings, and over the beginning of every column.
    """
    stats = [(path, path.stat()) for path in sorted((folder / "shards").glob("part-*.parquet"))]
    return _hash_of(tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats))


@functools.lru_cache(maxsize=4)
def _hash_of(files: tuple[tuple[Path, int, int], ...]) -> str:
    found = hashlib.sha256()
    for path, *_ in files:
        metadata = pq.read_metadata(path)
        found.update(f"{path.name} {metadata.num_rows}".encode() + (metadata.metadata or {}).get(SUMS_KEY, b""))
        with path.open("rb") as file:
            for group, column in itertools.product(range(metadata.num_row_groups), range(metadata.num_columns)):
                chunk = metadata.row_group(group).column(column)
                found.update(
                    f"{chunk.total_compressed_size} {chunk.statistics and chunk.statistics.to_dict()}".encode()
                )
                file.seek(chunk.data_page_offset)
                found.update(file.read(min(_BEGINNING, chunk.total_compressed_size)))
    return found.hexdigest()


def table_path(folder: Path, name: str) -> Path:
    """Where the Parquet file of a table lies."""
    return folder / "tables" / f"{name}.parquet"


def labels_of(folder: Path, name: str) -> dict[str, str]:
    """What a table was made from, beside the shards as they are now.

    Empty where it was made from other shards, or is not there.

    Args:
        folder: The study's folder.
        name: Of the table.
    """
    try:
        metadata: Mapping[bytes, bytes] = pq.read_metadata(table_path(folder, name)).metadata or {}
    except (OSError, ValueError):  # not there, or no Parquet
        return {}
    if metadata.get(_SHARDS, b"").decode() != shards_hash(folder):
        return {}
    texts = {key.decode("utf-8", "replace"): value.decode() for key, value in metadata.items()}
    return {key.removeprefix(_PREFIX): value for key, value in texts.items() if key.startswith(_PREFIX)}


def kept(folder: Path, name: str, labels: Mapping[str, str]) -> pl.DataFrame | None:
    """A table that was made from the shards as they are now, and from these labels; None where it must be made."""
    if not labels or labels_of(folder, name) != dict(labels):
        return None
    return pl.read_parquet(table_path(folder, name), glob=False)


def write_labelled(folder: Path, name: str, table: pl.DataFrame, labels: Mapping[str, str]) -> None:
    """Writes a table's Parquet file with what it was made from."""
    said: dict[Any, Any] = {_SHARDS: shards_hash(folder)} | {_PREFIX + key: value for key, value in labels.items()}
    arrow = table.to_arrow()
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **said})
    write_whole(table_path(folder, name), lambda hidden: pq.write_table(arrow, hidden, compression="zstd"))
