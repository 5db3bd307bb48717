"""Rows on disk: the Arrow schema, shards that appear completely or not at all, and their records."""

import base64
import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedshift.arrays import Floats, Values
from embedshift.config import Json
from embedshift.config.files import replacement
from embedshift.errors import EmbedshiftError, reason
from embedshift.sources.base import Failure
from embedshift.store.checksum import Damaged, file_checksum, is_intact, rows_checksum, with_checksum

SCHEMA_VERSION = 7
METADATA_KEY = b"embedshift"
FAILURES = "failures.parquet"
# Folders within a study. Somebody else's study may have a link in place of one, and would overwrite what is there.
INSIDE = ("shards", "tables", "figures")
SUMS_KEY = b"embedshift.sums"
# Where a view stands in its family; null on the original.
GRADES = {"family": pa.string(), "level": pa.int32(), "parameter": pa.float64()}
_NO_LISTS: Mapping[str, int | None] = {}
# Names of hidden files that a run makes beside its shards.
_HIDDEN = re.compile(r"\.part-\d{5,}\.parquet\.\d+")
_HIDDEN_IMAGE = re.compile(r"\..+\.(png|jpg|webp|json)\.\d+")


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
    # The study's random id, a digest over the ids and pixels of the measured images, and the checksum of rows and sums;
    # the writer adds all three.
    study_id: str = ""
    pixels: str = ""
    rows_checksum: str = ""


def schema(
    dim: int | None,
    cells: int | None,
    metrics: Sequence[str],
    lists: Mapping[str, int | None] = _NO_LISTS,
    *,
    graded: bool = False,
) -> pa.Schema:
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
    return folder / "shards" / f"part-{index:05d}.parquet"


def leftovers(folder: Path) -> Iterator[Path]:
    """Yields the hidden files of shards that killed runs did not finish; other files are somebody else's."""
    for path in (folder / "shards").iterdir():
        if _HIDDEN.fullmatch(path.name) and stat.S_ISREG(path.lstat().st_mode):
            yield path


def delete_incomplete(folder: Path) -> None:
    for path in folder.rglob(".*"):
        if _HIDDEN_IMAGE.fullmatch(path.name):
            path.unlink()


def write_shard(folder: Path, table: pa.Table, record: ShardRecord) -> None:
    """Writes a shard under a hidden name and renames it; the final name marks it as finished."""
    metadata = dict(table.schema.metadata or {})
    sums = metadata.pop(SUMS_KEY, b"")
    record = replace(record, rows_checksum=rows_checksum(table, sums))
    checked = with_checksum({"schema_version": SCHEMA_VERSION, **asdict(record)})
    table = table.replace_schema_metadata({**metadata, METADATA_KEY: json.dumps(checked)})
    path = shard_path(folder, record.index)
    # Numbers hardly repeat: a dictionary of them would make the file half as large again.
    texts = ["image_id", "view", "caption"]

    def write(hidden: Path) -> None:
        # No statistics: the checksum of the rows does not cover them, and a reader may leave out rows by them.
        options = {"compression": "zstd", "use_dictionary": texts, "write_statistics": False}
        with pq.ParquetWriter(hidden, table.schema, **options) as writer:
            writer.write_table(table)
            if sums:  # not in the schema, which Arrow writes twice
                writer.add_key_value_metadata({SUMS_KEY: sums})

    write_atomically(path, write)


def write_atomically(path: Path, write: Callable[[Path], object]) -> str:
    """Calls `write(hidden path)` and moves the result to `path`, so that no reader or crash sees half a file."""
    try:
        path.parent.mkdir(exist_ok=True)
        if path.parent.is_symlink() and path.parent.name in INSIDE:
            raise EmbedshiftError(f"{path.parent}: a link to another folder; replace it by a folder of the study")
        with replacement(path) as hidden:
            write(hidden)
            with open(hidden, "rb") as file:
                checksum = hashlib.file_digest(file, "sha256").hexdigest()
        file_checksum.keep(path, checksum)
        return checksum
    except OSError as error:
        if error.errno is None:
            raise
        refused = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        first = "copy the study to a folder of your own" if refused else "free space"
        words = f"{first} or choose another folder, and run the same command again"
        raise EmbedshiftError(f"{path}: cannot be written ({os.strerror(error.errno)}); {words}") from error


def made_inside(out: Path, path: Path) -> Path:
    """Returns a path in a folder of images, and creates the folders on its way; refuses links that lead out."""
    if not path.parent.resolve().is_relative_to(out.resolve()):
        raise EmbedshiftError(f"{path.parent}: a link to another folder; replace it by a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def read_record(path: Path) -> tuple[ShardRecord, int, pa.Schema]:
    """Returns a shard's record, and its number of rows and schema.

    The schema is not asked of the metadata, which then refers to itself and stays in memory.
    """
    try:
        with pq.ParquetFile(path.absolute()) as file:
            metadata, columns = file.metadata, file.schema_arrow.remove_metadata()
        content: Json = dict(json.loads(metadata.metadata[METADATA_KEY]))
    except Exception as error:
        raise Damaged(path, reason(error)) from error
    intact, version = is_intact(content), content.get("schema_version")
    if version != SCHEMA_VERSION and (intact or "checksum" not in content):  # schema 4 and older had none
        raise EmbedshiftError(schema_message(str(path), version))
    if not intact:
        raise Damaged(path, "its record does not match its checksum")
    fields = {key: value for key, value in content.items() if key not in ("schema_version", "checksum")}
    try:
        checksum = fields.pop("rows_checksum")  # without one it would be empty
        fields["failures"] = tuple(Failure(**failure) for failure in fields["failures"])
        return ShardRecord(**fields, rows_checksum=checksum), metadata.num_rows, columns
    except (KeyError, TypeError) as error:
        raise Damaged(path, reason(error)) from error


def schema_message(location: str, version: object) -> str:
    words = f"written with schema {version}, this embedshift reads {SCHEMA_VERSION}"
    return f"{location}: {words}: run the study again into another folder"


def with_sums(table: pa.Table, sums: Mapping[str, Mapping[str, Values]]) -> pa.Table:
    """Returns a shard's rows with its sums in the metadata; leaves out empty sums."""
    packed = {name: {key: _pack(array) for key, array in arrays.items()} for name, arrays in sums.items() if arrays}
    return table.replace_schema_metadata({SUMS_KEY: json.dumps(packed)}) if packed else table


def pixels_digest(ids: Sequence[str], pixels: Sequence[str | None]) -> str:
    """Returns a digest over the ids of images and the hashes of their pixels; rows without a hash do not count."""
    kept = [index for index, value in enumerate(pixels) if value is not None]
    lines = json.dumps([[ids[index] for index in kept], [pixels[index] for index in kept]])
    return hashlib.sha256(lines.encode()).hexdigest()


def shard_sums(path: Path, name: str) -> dict[str, Values]:
    """Returns the sums of a shard under a name; empty if it has none."""
    packed = json.loads((pq.read_metadata(path.absolute()).metadata or {}).get(SUMS_KEY, "{}"))
    return {key: _unpack(array) for key, array in packed.get(name, {}).items()}


def _pack(values: Values) -> Json:
    kind = "<f4" if values.dtype == np.float32 else "<f8"
    array = np.asarray(values, kind)
    return {"shape": array.shape, "kind": kind, "data": base64.b64encode(array.tobytes()).decode()}


def _unpack(packed: Mapping[str, Any]) -> Values:
    values = np.frombuffer(base64.b64decode(packed["data"]), packed["kind"])
    return values.reshape(packed["shape"]).astype(np.float64)


def failures_table(records: Sequence[ShardRecord]) -> pa.Table:
    """Returns the failures of some shards: one row per image that was not measured."""
    failures = [f for record in records for f in record.failures]
    kinds = {"image_id": pa.string(), "stage": pa.string(), "reason": pa.string(), "transient": pa.bool_()}
    schema = pa.schema(list(kinds.items()))
    if not failures:  # to make an array, Arrow imports pandas if it is installed
        return pa.Table.from_batches([], schema)
    return pa.Table.from_pylist([asdict(failure) for failure in failures], schema)


def write_failures(folder: Path, records: Sequence[ShardRecord]) -> dict[str, str]:
    """Writes failures.parquet again from the shards; returns its name and SHA-256, for study.json."""
    table = failures_table(records)
    checksum = write_atomically(folder / FAILURES, lambda hidden: pq.write_table(table, hidden))
    return {FAILURES: checksum}
