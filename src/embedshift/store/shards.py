"""Rows on disk: the Arrow schema, atomic shards, their records and their writer."""

import base64
import hashlib
import json
import logging
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedshift.arrays import Floats, Values
from embedshift.config import Json
from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.sources.base import Failure
from embedshift.store.files import Damaged, is_intact, with_checksum, write_atomically
from embedshift.store.info import SCHEMA_VERSION, ShardPixels, schema_message

log = logging.getLogger(__name__)

METADATA_KEY = b"embedshift"
FAILURES = "failures.parquet"
SUMS_KEY = b"embedshift.sums"
# Level of a view in its family; null on the original.
LEVEL_COLUMNS = {"family": pa.string(), "level": pa.int32(), "parameter": pa.float64()}
_NO_LISTS: Mapping[str, int | None] = {}
# Names of a run's hidden files beside its shards.
_HIDDEN = re.compile(r"\.part-\d{5,}\.parquet\.\d+")


@dataclass(frozen=True)
class ShardRecord:
    index: int
    config_hash: str
    images: int
    failures: tuple[Failure, ...]
    batch_size: int
    seconds: dict[str, float] = field(default_factory=dict)
    written: float = 0.0
    # Added by the writer: the study's random id, a digest of ids and pixels of the measured images, and the checksum of
    # rows and sums.
    study_id: str = ""
    pixels: str = ""
    rows_checksum: str = ""


@dataclass(frozen=True)
class ShardFile:
    """An undamaged shard on disk: SHA-256 of its file, and its stored sums; None = not kept."""

    path: Path
    record: ShardRecord
    rows: int
    checksum: str
    sums: bytes | None = None

    def read_sums(self, name: str) -> dict[str, Values]:
        return shard_sums(self.path, name) if self.sums is None else unpacked(self.sums, name)


def schema(
    dim: int | None,
    cells: int | None,
    metrics: Sequence[str],
    lists: Mapping[str, int | None] = _NO_LISTS,
    *,
    has_levels: bool = False,
) -> pa.Schema:
    attention = pa.list_(pa.float32(), cells) if cells else pa.list_(pa.float32())
    return pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("view", pa.string(), nullable=False),
            pa.field("draw", pa.int32(), nullable=False),
            pa.field("view_seed", pa.int64(), nullable=False),
            pa.field("pixels", pa.string()),
            *(pa.field(name, kind) for name, kind in LEVEL_COLUMNS.items() if has_levels),
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


def shard_name(path: Path) -> str:
    return f"shards/{path.name}"


def leftovers(folder: Path) -> Iterator[Path]:
    """Yields the hidden files of shards that killed runs did not finish, and no other files."""
    for path in (folder / "shards").iterdir():
        if _HIDDEN.fullmatch(path.name) and stat.S_ISREG(path.lstat().st_mode):
            yield path


def write_shard(folder: Path, table: pa.Table, record: ShardRecord) -> ShardFile:
    """Writes a shard under a hidden name and renames it; the final name marks it as finished."""
    metadata = dict(table.schema.metadata or {})
    sums = metadata.pop(SUMS_KEY, b"")
    record = replace(record, rows_checksum=rows_checksum(table, sums))
    checked = with_checksum({"schema_version": SCHEMA_VERSION, **asdict(record)})
    table = table.replace_schema_metadata({**metadata, METADATA_KEY: json.dumps(checked)})
    path = shard_path(folder, record.index)
    # Numbers hardly repeat: a dictionary would make the file half as large again.
    texts = ["image_id", "view", "caption"]

    def write(hidden: Path) -> None:
        # No statistics: the checksum does not cover them, and a reader may skip rows by them.
        options = {"compression": "zstd", "use_dictionary": texts, "write_statistics": False}
        with pq.ParquetWriter(hidden, table.schema, **options) as writer:
            writer.write_table(table)
            if sums:  # not in the schema, which Arrow writes twice
                writer.add_key_value_metadata({SUMS_KEY: sums})

    return ShardFile(path, record, len(table), write_atomically(path, write), sums)


def rows_checksum(table: pa.Table, sums: bytes) -> str:
    """Returns the SHA-256 of a shard's rows and sums, independent of Parquet; equal for two runs of one study."""
    hasher = hashlib.sha256(sums)
    for name, column in zip(table.column_names, table.columns, strict=True):
        hasher.update(f"\n{name}\n".encode("utf-8", "surrogateescape"))
        _add_column(hasher, column.combine_chunks())
    return hasher.hexdigest()


def _add_column(hasher: "hashlib._Hash", array: pa.Array) -> None:
    """Adds type, nulls and values of a column to the hash, without the memory behind nulls."""
    values = array.drop_null()
    hasher.update(np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type):
        hasher.update(pc.list_value_length(values).to_numpy().tobytes())
        _add_column(hasher, values.flatten())
    elif pa.types.is_string(array.type):
        texts = [text.encode() for text in values.to_pylist()]
        hasher.update(np.array([len(text) for text in texts], np.int64).tobytes())
        hasher.update(b"".join(texts))
    else:
        hasher.update(str(array.type).encode())
        hasher.update(values.to_numpy(zero_copy_only=False).tobytes())


def read_record(path: Path) -> tuple[ShardRecord, int, bytes]:
    """Returns the record of a shard, its number of rows, and its stored sums."""
    try:
        metadata = pq.read_metadata(path.absolute())
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
        sums = metadata.metadata.get(SUMS_KEY, b"")
        return ShardRecord(**fields, rows_checksum=checksum), metadata.num_rows, sums
    except (KeyError, TypeError) as error:
        raise Damaged(path, reason(error)) from error


def with_sums(table: pa.Table, sums: Mapping[str, Mapping[str, Values]]) -> pa.Table:
    """Returns a shard's rows with its sums, if any, in the metadata."""
    packed = {name: {key: _pack(array) for key, array in arrays.items()} for name, arrays in sums.items() if arrays}
    return table.replace_schema_metadata({SUMS_KEY: json.dumps(packed)}) if packed else table


def pixels_digest(ids: Sequence[str], pixels: Sequence[str | None]) -> str:
    """Returns a digest of images' ids and pixel hashes; rows without a hash do not count."""
    kept = [index for index, value in enumerate(pixels) if value is not None]
    lines = json.dumps([[ids[index] for index in kept], [pixels[index] for index in kept]])
    return hashlib.sha256(lines.encode()).hexdigest()


def shard_sums(path: Path, name: str) -> dict[str, Values]:
    return unpacked((pq.read_metadata(path.absolute()).metadata or {}).get(SUMS_KEY, b""), name)


def unpacked(sums: bytes, name: str) -> dict[str, Values]:
    packed = json.loads(sums or b"{}")
    return {key: _unpack(array) for key, array in packed.get(name, {}).items()}


def _pack(values: Values) -> Json:
    kind = "<f4" if values.dtype == np.float32 else "<f8"
    array = np.asarray(values, kind)
    return {"shape": array.shape, "kind": kind, "data": base64.b64encode(array.tobytes()).decode()}


def _unpack(packed: Mapping[str, Any]) -> Values:
    values = np.frombuffer(base64.b64decode(packed["data"]), packed["kind"])
    return values.reshape(packed["shape"]).astype(np.float64)


def failures_table(records: Sequence[ShardRecord]) -> pa.Table:
    failures = [f for record in records for f in record.failures]
    kinds = {"image_id": pa.string(), "stage": pa.string(), "reason": pa.string(), "transient": pa.bool_()}
    schema = pa.schema(list(kinds.items()))
    if not failures:  # to make an array, Arrow imports pandas if installed
        return pa.Table.from_batches([], schema)
    return pa.Table.from_pylist([asdict(failure) for failure in failures], schema)


def write_failures(folder: Path, records: Sequence[ShardRecord]) -> dict[str, str]:
    """Writes failures.parquet from the shards; returns its name and SHA-256, for study.json."""
    table = failures_table(records)
    checksum = write_atomically(folder / FAILURES, lambda hidden: pq.write_table(table, hidden))
    return {FAILURES: checksum}


def refuse_other_pixels(path: Path, record: ShardRecord, first: ShardPixels | None) -> None:
    """Refuses a shard whose images have other pixels than at the first measurement."""
    if first is not None and record.images == first.images and record.pixels != first.digest:
        words = "its images have other pixels than when the study measured them first"
        raise UsageError(f"{path}: {words}; restore the images, or choose another `out`")


class ShardWriter:
    def __init__(
        self, folder: Path, written: Callable[[ShardFile], object], study_id: str, first: Mapping[str, ShardPixels]
    ) -> None:
        self._folder, self._written, self._study_id, self._first = folder, written, study_id, first
        self._thread = ThreadPoolExecutor(1)
        self._last: Future[ShardFile] | None = None

    def write(self, table: pa.Table, record: ShardRecord) -> None:
        self.wait()
        digest = pixels_digest(table["image_id"].to_pylist(), table["pixels"].to_pylist())
        record = replace(record, study_id=self._study_id, pixels=digest)
        path = shard_path(self._folder, record.index)
        first = self._first.get(shard_name(path))
        refuse_other_pixels(path, record, first)
        if first is not None and first.images != record.images:
            words = "%s: %d images measured, at first %d; whether they have the same pixels is not known"
            log.warning(words, path, record.images, first.images)
        self._last = self._thread.submit(write_shard, self._folder, table, record)

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.wait()  # a begun shard is written, whatever ended the run
        except Exception:
            if kind is None:
                raise
        finally:
            self._thread.shutdown()

    def wait(self) -> None:
        if self._last is not None:
            last, self._last = self._last, None
            self._written(last.result())
