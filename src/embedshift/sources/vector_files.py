"""Where vectors come from: Parquet and npy files, and the arrays and frames of NumPy, torch, Polars and pandas."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedshift.config.files import open_file
from embedshift.errors import EmbedshiftError, UsageError, cause

# Rows that are in memory at once, and bytes that are read ahead of them: a row group may be larger than memory.
AT_ONCE, AHEAD = 4_096, 2**20
# What the column of vectors may be called; the second name is that of a study's own shards.
VECTOR_COLUMNS = ("vector", "embedding")
# What rows of originals may say of their image.
TEXTS = ("group", "caption", "path")


class Rows(NamedTuple):
    """Some rows: vectors `[n, D]`, and by name the columns that say what they are of."""

    vectors: NDArray[Any]
    columns: Mapping[str, Sequence[Any]]


@dataclass(frozen=True, eq=False)
class Part:
    """Vectors from one place; rows without the column `view` are of `view`."""

    name: str
    view: str
    count: int
    is_half: bool
    rows: Callable[[], Iterator[Rows]]


def open_part(given: Any, view: str, ids: Sequence[str] | None = None, **texts: Sequence[Any]) -> Part:
    """Opens vectors: the path of a Parquet or npy file, a frame with the column `image_id`, or an array.

    `ids` are the images of an array, row by row, None = its row numbers; `texts` say something of them.
    """
    try:
        if isinstance(given, str | os.PathLike):
            path = Path(given).expanduser()
            open_file(path).close()  # refuses what is no file, for which a reader would wait
            if path.suffix.lower() != ".parquet":
                return _of_array(str(path), view, lambda: np.load(path, mmap_mode="r", allow_pickle=False), ids, texts)
            with open_file(path) as opened, pq.ParquetFile(opened) as file:
                schema, count = file.schema_arrow, file.metadata.num_rows
            return _of_table(str(path), view, schema, count, lambda columns: _batches(path, columns))
        if "image_id" in map(str, getattr(given, "columns", ())):
            table = pa.table(given)
            return _of_table(
                f"the frame of {view!r}", view, table.schema, len(table),
                lambda columns: iter(table.select(columns).to_batches(AT_ONCE)),
            )  # fmt: skip
        array = _as_array(given)
        return _of_array(f"the array of {view!r}", view, lambda: array, ids, texts)
    except UsageError:
        raise
    except (OSError, EmbedshiftError, ValueError, EOFError, pa.ArrowException) as error:
        name = given if isinstance(given, str | os.PathLike) else f"the vectors of {view!r}"
        words = "give a Parquet file, an npy file, or rows of equal length"
        raise UsageError(f"{name}: cannot be read ({cause(error):.200}); {words}") from error


def _of_array(
    name: str, view: str, opened: Callable[[], Any], ids: Sequence[str] | None, texts: Mapping[str, Sequence[Any]]
) -> Part:
    array = opened()
    shape, kind = getattr(array, "shape", ()), getattr(array, "dtype", type(array).__name__)
    if len(shape) != 2 or not shape[1] or kind.kind not in "fiu":
        raise UsageError(f"{name}: {kind} of shape {shape}; give numbers [images, length of a vector]")
    columns = {"image_id": [str(row) for row in range(shape[0])] if ids is None else ids, **texts}
    for column, cells in columns.items():
        if len(cells) != shape[0]:
            raise UsageError(f"{name}: has {shape[0]:,} rows, but there are {len(cells):,} of {column!r}")

    def rows() -> Iterator[Rows]:
        for start in range(0, shape[0], AT_ONCE):
            part = slice(start, start + AT_ONCE)
            # A file is mapped for one use: what was read would stay in memory otherwise.
            yield Rows(opened()[part], {column: cells[part] for column, cells in columns.items()})

    return Part(name, view, shape[0], kind == np.float16, rows)


def _of_table(
    name: str, view: str, schema: pa.Schema, count: int, batches: Callable[[list[str]], Iterator[pa.RecordBatch]]
) -> Part:
    vector = next((column for column in VECTOR_COLUMNS if column in schema.names), VECTOR_COLUMNS[0])
    if lacking := {"image_id", vector} - {*schema.names}:
        raise UsageError(f"{name}: has no column {min(lacking)!r}; give image_id, view and vector")
    kind = schema.field(vector).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    number = kind.value_type if is_list else pa.null()
    if not (pa.types.is_floating(number) or pa.types.is_integer(number)):
        raise UsageError(f"{name}: its column {vector!r} holds {kind}, not lists of numbers")
    columns = [column for column in ("image_id", "view", "draw", *TEXTS) if column in schema.names]

    def rows() -> Iterator[Rows]:
        start = 0
        for batch in filter(len, batches([*columns, vector])):
            cells = {column: _cells(batch.column(column), column) for column in columns}
            yield Rows(_matrix(batch.column(vector), name, start), cells)
            start += len(batch)

    return Part(name, view, count, pa.types.is_float16(number), rows)


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    with open_file(path) as opened, pq.ParquetFile(opened, buffer_size=AHEAD) as file:
        yield from file.iter_batches(AT_ONCE, columns=columns)


def _cells(column: pa.Array, name: str) -> list[Any]:
    cells = pc.fill_null(column.cast(pa.int32()), 0) if name == "draw" else column.cast(pa.string())
    return list(cells.to_pylist())


def _matrix(lists: pa.Array, name: str, start: int) -> NDArray[Any]:
    """Returns vectors `[n, D]`; a missing number becomes NaN."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    if (different := np.flatnonzero((lengths != lengths[0]) | (lengths == 0))).size:
        length = lengths[different[0]]
        words = f"{length} numbers, but row {start} has {lengths[0]}" if length else "no vector"
        raise UsageError(f"{name}: row {start + different[0]} has {words}")
    return np.asarray(lists.flatten().to_numpy(zero_copy_only=False)).reshape(len(lists), -1)


def _as_array(given: Any) -> NDArray[Any]:
    """Converts the array of a library to NumPy's."""
    if hasattr(given, "detach"):  # a tensor of torch, which nothing here imports
        given = given.detach().cpu()
        given = given.float() if str(given.dtype) == "torch.bfloat16" else given
    array = given.to_numpy() if hasattr(given, "to_numpy") else np.asarray(given)
    return np.stack([np.asarray(row) for row in array]) if array.dtype == object else np.asarray(array)
