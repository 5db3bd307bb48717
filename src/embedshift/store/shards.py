"""The records on disk: the Arrow schema, shards that appear whole or not at all, and what was finished."""

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
    """An image that was not measured, where it failed and why, in words.

    Args:
        image_id: Its name in the study.
        stage: One of list, read, decode, draw, encode, measure.
        reason: Why, in words.
        transient: Whether the same image may be measured another time: it could not be reached, took too long, or the
            memory did not hold it. A run that goes on tries it again.
    """

    image_id: str
    stage: str
    reason: str
    transient: bool = False


@dataclass(frozen=True)
class ShardRecord:
    """What a finished shard says of itself, in its Parquet metadata.

    Args:
        index: Which shard.
        config_hash: Of the study that it belongs to.
        images: Images measured.
        failures: Images not measured.
        batch_size: Views per forward pass.
        seconds: Seconds per stage; read, decode, draw and pixels add up over the workers.
        written: When it was measured, in seconds since 1970.
    """

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
    """Columns of a row.

    Args:
        dim: Length of an embedding; None where none is stored.
        cells: g_h * g_w; None for an encoder without attention.
        metrics: Names.
        lists: Lists of numbers, float32: name → length; None = of any length.
        graded: Whether a view may have a place in a family of rising strength.

    Example:
        >>> schema(512, 49, ["cosine_similarity"]).names[:5]
        ['image_id', 'view', 'draw', 'view_seed', 'pixels']
    """
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
    """`[N, K]` → an Arrow array of N lists of K, without a loop; null where one is missing."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
    mask = pa.array(missing) if missing is not None and missing.any() else None
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=mask)


def shard_path(folder: Path, index: int) -> Path:
    """Where shard `index` of the study in `folder` lies."""
    return folder / "shards" / f"part-{index:05d}.parquet"


def kept_path(folder: Path, index: int) -> Path:
    """Where a run keeps what the encoder gave for shard `index`, until the shard is there."""
    return folder / "shards" / f".part-{index:05d}.kept"


def leftovers(folder: Path) -> Iterator[Path]:
    """Hidden files of runs that were killed, which no run goes on with: all but what is kept for shards to come."""
    for path in (folder / "shards").iterdir():
        found = _HIDDEN.fullmatch(path.name)
        if found is None or not stat.S_ISREG(path.lstat().st_mode):
            continue  # of somebody else
        if found["kept"] is None or shard_path(folder, int(found["index"])).exists():
            yield path


def write_shard(folder: Path, table: pa.Table, record: ShardRecord) -> None:
    """Writes a shard under a hidden name and renames it: the renamed part is the mark that it is done."""
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
    with contextlib.suppress(OSError):  # somebody may have put a folder there
        kept_path(folder, record.index).unlink()


def write_whole(path: Path, write: Any) -> None:
    """Calls `write(hidden path)` and moves the result to `path`: a reader or a crash never meets half a file.

    Raises:
        EmbedshiftError: when it cannot be written, as on a full disk.
    """
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
    """The number of the system's error behind one; None where there is none. Polars has it in its words alone."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else getattr(error, "errno", None)


def read_record(path: Path) -> tuple[ShardRecord, Digests, int]:
    """What a shard says of itself, its digests and its number of rows: every bit of it is read.

    Raises:
        EmbedshiftError: when it is damaged, no shard, or of another version of embedshift.
    """
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
    """The line for what an older or newer embedshift wrote.

    Example:
        >>> another_schema("study", 1)
        'study: written with schema 1, this embedshift reads 4: run the study again into another folder'
    """
    words = f"written with schema {version}, this embedshift reads {SCHEMA_VERSION}"
    return f"{place}: {words}: run the study again into another folder"


def with_sums(table: pa.Table, sums: Mapping[str, Mapping[str, Values]]) -> pa.Table:
    """A shard's rows with what it added up in the metadata; what has nothing to say is left out.

    Args:
        table: The rows.
        sums: Name → arrays by name, float64 or float32.
    """
    said = {name: {key: _packed(array) for key, array in arrays.items()} for name, arrays in sums.items() if arrays}
    return table.replace_schema_metadata({SUMS_KEY: json.dumps(said)}) if said else table


def shard_sums(paths: Iterable[Path], name: str) -> Iterator[dict[str, Values]]:
    """What shards added up under a name, shard by shard."""
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
    """Rebuilds failures.parquet from the shards: one row per image that was not measured."""
    failures = [f for record in records for f in record.failures]
    kinds = {"image_id": pa.string(), "stage": pa.string(), "reason": pa.string(), "transient": pa.bool_()}
    table = pa.Table.from_pylist([asdict(failure) for failure in failures], pa.schema(list(kinds.items())))
    write_whole(folder / "failures.parquet", lambda hidden: pq.write_table(table, hidden))
