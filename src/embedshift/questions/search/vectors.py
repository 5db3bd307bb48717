"""The vectors to search among: the originals of a study, and those of an additional gallery."""

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import Floats
from embedshift.augmentations import ORIGINAL
from embedshift.errors import UsageError, reason
from embedshift.statistics.retrieval import Gallery, let_go
from embedshift.store.naming import GALLERY
from embedshift.store.reader import Reader

log = logging.getLogger(__name__)

# Rows of a file at once, and bytes of vectors up to which they are kept in memory.
ROWS, IN_MEMORY = 8_192, 512 * 2**20


@dataclass(frozen=True)
class Originals:
    """All vectors to search among."""

    ids: pl.Series
    gallery: Gallery
    images: int


def originals(reader: Reader, path: str = "") -> Originals:
    """Returns the originals of a study and the vectors of a gallery."""
    own = reader.rows().filter(pl.col("view") == ORIGINAL)
    names = [own.select("image_id").collect()["image_id"]]
    parts = [_vectors(own)]
    images = count = len(names[0])
    if path:
        others, beside = _gallery(reader, Path(path).expanduser())
        names.append(others)
        parts.append(beside)
        count += len(others)
    dim = reader.info.encoder.dim
    room, filled = _room(count, dim, reader.folder), 0
    for part in (part for found in parts for part in found):
        if part.ndim != 2 or part.shape[1] != dim:
            raise UsageError(
                f"`gallery`: {path}: its vectors have {part.shape[-1]} numbers, those of this encoder {dim}"
            )
        # A vector that is not of numbers has no direction, and is never found.
        room[filled : filled + len(part)] = np.where(np.isfinite(part).all(axis=1, keepdims=True), part, 0.0)
        filled += len(part)
        let_go(room, filled)
    return Originals(pl.concat(names), Gallery.of(room[:filled]), images)


def _vectors(rows: pl.LazyFrame, column: str = "embedding") -> Iterator[Floats]:
    for batch in rows.select(column).collect_batches(chunk_size=ROWS, maintain_order=True):
        if len(batch):
            yield batch[column].to_numpy()


def _room(count: int, dim: int, folder: Path) -> Floats:
    """Returns memory for vectors, or an unnamed file, which the system frees with the last array on it."""
    if 4 * count * dim <= IN_MEMORY:
        return np.empty((count, dim), np.float32)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.float32, "w+", shape=(count, dim))


def _gallery(reader: Reader, path: Path) -> tuple[pl.Series, Iterator[Floats]]:
    """Returns names and vectors of the additional gallery."""
    if Reader(path).exists():
        return _of_study(reader, Reader(path))
    if path.is_dir():
        raise UsageError(f"`gallery`: {path}: no study in this folder")
    try:
        ids, vectors = _of_npy(path) if path.suffix == ".npy" else _of_parquet(pl.scan_parquet(path, glob=False))
    except UsageError as error:
        raise UsageError(f"`gallery`: {path}: {error}") from error
    except Exception as error:  # errors that depend on the file's content
        raise UsageError(_neither(path, error)) from error
    return ids, _refusing(path, vectors)


def _refusing(path: Path, vectors: Iterator[Floats]) -> Iterator[Floats]:
    """Yields the vectors of a file and refuses wrong content, which is known only during reading."""
    try:
        yield from vectors
    except Exception as error:
        raise UsageError(_neither(path, error)) from error


def _neither(path: Path, error: Exception) -> str:
    return f"`gallery`: {path}: neither a study nor a Parquet or npy file of vectors ({reason(error):.200})"


def _of_npy(path: Path) -> tuple[pl.Series, Iterator[Floats]]:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise UsageError(f"give an array [images, length of a vector], not {array.dtype} of shape {array.shape}")
    ids = pl.Series("image_id", [f"{GALLERY}{row}" for row in range(len(array))], pl.String)
    return ids, (_single(array[start : start + ROWS]) for start in range(0, max(1, len(array)), ROWS))


def _single(vectors: NDArray[Any]) -> Floats:
    with np.errstate(over="ignore"):
        return np.asarray(vectors, np.float32)


def _of_study(reader: Reader, other: Reader) -> tuple[pl.Series, Iterator[Floats]]:
    """Returns the originals of another study, without images whose pixels this study has."""
    if not other.info.has_vectors:
        raise UsageError(f"`gallery`: {other.folder}: stores no embeddings; run it with `store` all")
    if not other.info.complete:
        raise UsageError(f"`gallery`: {other.folder}: not finished; run the same command again first")
    ours, theirs_said = reader.info.encoder, other.info.encoder
    if (theirs_said.weights_hash, theirs_said.embedding) != (ours.weights_hash, ours.embedding):
        raise UsageError(f"`gallery`: {other.folder}: of another encoder, {theirs_said.name} ({theirs_said.embedding})")
    own = reader.rows().filter(pl.col("view") == ORIGINAL).select("pixels").collect()["pixels"]
    theirs = other.rows().filter(pl.col("view") == ORIGINAL)
    twice = pl.col("pixels").is_in(own.drop_nulls().implode()).fill_null(value=False)
    kept = theirs.filter(~twice)
    ids = kept.select(pl.lit(GALLERY) + pl.col("image_id")).collect().to_series()
    if lost := len(theirs.select("view").collect()) - len(ids):
        log.info("%d images of the gallery are also in the study; skipping them in the gallery", lost)
    return ids.alias("image_id"), _vectors(kept)


def _of_parquet(rows: pl.LazyFrame) -> tuple[pl.Series, Iterator[Floats]]:
    """Returns the vectors of the column `embedding`, or of the only column of lists."""
    schema = rows.collect_schema()
    if {"image_id", "view", "draw"} <= {*schema}:
        raise UsageError("this is a shard of a study; name the study's folder")
    lists = [name for name, kind in schema.items() if kind in (pl.Array, pl.List)]
    if "embedding" not in lists and len(lists) != 1:
        raise UsageError(f"give the vectors in a column 'embedding' of lists; it has {', '.join(lists) or 'no list'}")
    column = "embedding" if "embedding" in lists else lists[0]
    length = int(rows.select(pl.len()).collect().item())
    width = int(rows.select(pl.col(column).first()).collect()[column].explode().len())
    fixed = rows.select(pl.col(column).cast(pl.List(pl.Float32)).list.to_array(width).alias("embedding"))
    return pl.Series("image_id", [f"{GALLERY}{row}" for row in range(length)], pl.String), _vectors(fixed)
