"""Rows on disk: the Arrow schema, shards that appear completely or not at all, and their records."""

import base64
import contextlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedshift.arrays import Floats, Values
from embedshift.config import Json
from embedshift.errors import EmbedshiftError, reason
from embedshift.store.checksum import PLACEHOLDERS, Damaged, Digests, NoChecksum, digests, seal

SCHEMA_VERSION = 4
METADATA_KEY = b"embedshift"
SUMS_KEY = b"embedshift.sums"
# Where a view stands in its family; null on the original.
GRADES = {"family": pa.string(), "level": pa.int32(), "parameter": pa.float64()}
_NONE: Mapping[str, int | None] = {}
# Names of hidden files that a run makes beside its shards.
_HIDDEN = re.compile(r"\.part-(?P<index>\d{5,})(\.parquet\.\d+|(?P<kept>\.kept))")


@dataclass(frozen=True)
class Failure:
    """An image that was not measured: where it failed and why."""

    image_id: str
    stage: str
    reason: str
    transient: bool = False


@dataclass(frozen=True)
class ShardRecord:
    """The record of a finished shard, in its Parquet metadata."""

    index: int
    config_hash: str
    images: int
    failures: tuple[Failure, ...]
    batch_size: int
    seconds: dict[str, float] = field(default_factory=dict)
    written: float = 0.0


def schema(
    dim: int | None,
    cells: int | None,
    metrics: Sequence[str],
    lists: Mapping[str, int | None] = _NONE,
    *,
    graded: bool = False,
) -> pa.Schema:
    """Returns the columns of a row."""
    attention = pa.list_(pa.float32(), cells) if cells else pa.list_(pa.float32())
    return pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("view", pa.string(), nullable=False),
            pa.field("draw", pa.int32(), nullable=False),
            pa.field("view_seed", pa.int64(), nullable=False),
            pa.field("pixels", pa.string()),
            *(pa.field(name, kind) for name, kind in GRADES.items() if graded),
            *([pa.field("embedding", pa.list_(pa.float32(), dim))] if dim else []),
            pa.field("attention", attention),
            *(pa.field(name, pa.float64()) for name in metrics),
            *(pa.field(name, pa.list_(pa.float32(), -1 if n is None else n)) for name, n in lists.items()),
            pa.field("caption", pa.string()),
        ]
    )


def fixed_lists(values: Floats, missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """Converts `[N, K]` to an Arrow array of N lists of K, without a loop; null for missing ones."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
    mask = pa.array(missing) if missing is not None and missing.any() else None
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=mask)


def shard_path(folder: Path, index: int) -> Path:
    """Returns the path of shard `index` of the study in `folder`."""
    return folder / "shards" / f"part-{index:05d}.parquet"


def kept_path(folder: Path, index: int) -> Path:
    """Returns the path where a run keeps encoder outputs for shard `index` until the shard exists."""
    return folder / "shards" / f".part-{index:05d}.kept"


def leftovers(folder: Path) -> Iterator[Path]:
    """Yields hidden files of killed runs that no run will use: all except outputs kept for shards to come."""
    for path in (folder / "shards").iterdir():
        found = _HIDDEN.fullmatch(path.name)
        if found is None or not stat.S_ISREG(path.lstat().st_mode):
            continue  # owned by another user
        if found["kept"] is None or shard_path(folder, int(found["index"])).exists():
            yield path


def write_shard(folder: Path, table: pa.Table, record: ShardRecord) -> None:
    """Writes a shard under a hidden name and renames it; the final name marks it as finished."""
    said = json.dumps({"schema_version": SCHEMA_VERSION, **asdict(record)})
    metadata = dict(table.schema.metadata or {})
    sums = metadata.pop(SUMS_KEY, None)
    table = table.replace_schema_metadata({**metadata, METADATA_KEY: said})
    path = shard_path(folder, record.index)
    # Numbers hardly repeat: a dictionary of them would make the file half as large again.
    texts = ["image_id", "view", "caption"]

    def write(hidden: Path) -> None:
        with pq.ParquetWriter(hidden, table.schema, compression="zstd", use_dictionary=texts) as writer:
            writer.write_table(table)
            # Not in the schema, which Arrow writes twice.
            writer.add_key_value_metadata(PLACEHOLDERS | ({SUMS_KEY: sums} if sums else {}))
        seal(hidden, sums or b"")

    write_whole(path, write)
    with contextlib.suppress(OSError):  # a folder may be in its place
        kept_path(folder, record.index).unlink()


def write_whole(path: Path, write: Any) -> None:
    """Calls `write(hidden path)` and moves the result to `path`, so that no reader or crash sees half a file."""
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(exist_ok=True)
        hidden.unlink(missing_ok=True)  # it may be a link
        write(hidden)
        with open(hidden, "rb") as file:
            os.fsync(file.fileno())
        os.replace(hidden, path)
    except Exception as error:
        number = _system_error(error)
        if number is None:
            raise
        words = "free space or choose another folder, and run the same command again"
        raise EmbedshiftError(f"{path}: cannot be written ({os.strerror(number)}); {words}") from error
    finally:
        with contextlib.suppress(OSError):
            hidden.unlink(missing_ok=True)


def _system_error(error: Exception) -> int | None:
    """Returns the number of the underlying system error; None if there is none. Polars has it only in its message."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else getattr(error, "errno", None)


def read_record(path: Path) -> tuple[ShardRecord, Digests, int]:
    """Returns a shard's record, its digests and its number of rows; reads every bit of the file."""
    try:
        found = digests(path)
    except NoChecksum:
        if (version := _content(path)[0].get("schema_version", SCHEMA_VERSION)) != SCHEMA_VERSION:
            raise EmbedshiftError(another_schema(str(path), version)) from None
        raise
    said, rows = _content(path)
    version = said.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise EmbedshiftError(another_schema(str(path), version))
    try:
        return ShardRecord(**said | {"failures": tuple(Failure(**f) for f in said["failures"])}), found, rows
    except (KeyError, TypeError) as error:
        raise Damaged(path, reason(error)) from error


def _content(path: Path) -> tuple[Json, int]:
    try:
        metadata = pq.read_metadata(path)
        said: Json = json.loads(metadata.metadata[METADATA_KEY])
        return said | {}, metadata.num_rows
    except Exception as error:
        raise Damaged(path, reason(error)) from error


def another_schema(place: str, version: object) -> str:
    """Returns the message for files of an older or newer embedshift."""
    words = f"written with schema {version}, this embedshift reads {SCHEMA_VERSION}"
    return f"{place}: {words}: run the study again into another folder"


def with_sums(table: pa.Table, sums: Mapping[str, Mapping[str, Values]]) -> pa.Table:
    """Returns a shard's rows with its sums in the metadata; leaves out empty sums."""
    said = {name: {key: _packed(array) for key, array in arrays.items()} for name, arrays in sums.items() if arrays}
    return table.replace_schema_metadata({SUMS_KEY: json.dumps(said)}) if said else table


def shard_sums(paths: Iterable[Path], name: str) -> Iterator[dict[str, Values]]:
    """Yields the sums of shards under a name, shard by shard."""
    for path in paths:
        said = json.loads((pq.read_metadata(path).metadata or {}).get(SUMS_KEY, "{}"))
        if name in said:
            yield {key: _unpacked(array) for key, array in said[name].items()}


def _packed(values: Values) -> Json:
    kind = "<f4" if values.dtype == np.float32 else "<f8"
    array = np.asarray(values, kind)
    return {"shape": array.shape, "kind": kind, "data": base64.b64encode(array.tobytes()).decode()}


def _unpacked(packed: Mapping[str, Any]) -> Values:
    values = np.frombuffer(base64.b64decode(packed["data"]), packed["kind"])
    return values.reshape(packed["shape"]).astype(np.float64)


def write_failures(folder: Path, records: Sequence[ShardRecord]) -> None:
    """Writes failures.parquet again from the shards: one row per image that was not measured."""
    failures = [f for record in records for f in record.failures]
    kinds = {"image_id": pa.string(), "stage": pa.string(), "reason": pa.string(), "transient": pa.bool_()}
    schema = pa.schema(list(kinds.items()))
    table = pa.Table.from_batches([], schema)
    if failures:  # to make an array, Arrow imports pandas if it is installed
        table = pa.Table.from_pylist([asdict(failure) for failure in failures], schema)
    write_whole(folder / "failures.parquet", lambda hidden: pq.write_table(table, hidden))
