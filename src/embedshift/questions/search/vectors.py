"""The vectors to search among: the originals of a study, and those of an additional gallery."""

import dataclasses
import itertools
import logging
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import Floats
from embedshift.augmentations import ORIGINAL
from embedshift.errors import UsageError
from embedshift.sources.vector_files import Part, open_part
from embedshift.statistics.retrieval import Gallery, release_memory
from embedshift.store.naming import GALLERY
from embedshift.store.reader import Reader

log = logging.getLogger(__name__)

# Rows of a file at once, and bytes of vectors up to which they are kept in memory.
ROWS, IN_MEMORY = 8_192, 32 * 2**20

# The ids of some images, and their vectors.
Blocks = Iterator[tuple[pl.Series, Floats]]


@dataclass(frozen=True)
class Originals:
    ids: pl.Series
    gallery: Gallery
    images: int

    @property
    def searched(self) -> int:
        """The number of originals that a view is searched among; their mean, if those of its group are left out."""
        groups = self.gallery.groups
        if groups is None:
            return len(self.gallery)
        return 1 + round(len(groups) - float(np.bincount(groups)[groups[: self.images]].mean()))


def originals(reader: Reader, path: str = "") -> Originals:
    """Returns the originals of a study and the vectors of a gallery."""
    rows = reader.rows().filter(pl.col("view") == ORIGINAL)
    images = count = int(rows.select(pl.len()).collect().item())
    blocks = _blocks(rows, reader.vectors)
    if path:
        more, gallery = _gallery(reader, Path(path).expanduser())
        count, blocks = count + more, itertools.chain(blocks, gallery)
    dim = reader.info.encoder.dim
    memory, filled, names = allocate(count, dim, reader.folder), 0, list[pl.Series]()
    for ids, vectors in blocks:
        if vectors.ndim != 2 or vectors.shape[1] != dim:
            raise UsageError(
                f"`gallery`: {path}: its vectors have {vectors.shape[-1]} numbers, those of this encoder {dim}"
            )
        if filled >= images and reader.whitening is not None:  # of the gallery
            vectors = reader.whitening(vectors)
        memory[filled : filled + len(vectors)] = vectors
        filled += len(vectors)
        names.append(ids)
        release_memory(memory, filled)
    groups = None
    if reader.units is not None:  # an image of the gallery is a group of its own
        groups = np.concatenate([reader.units, len(reader.units) + np.arange(filled - images)])
    return Originals(pl.concat(names), Gallery.of(memory[:filled], groups), images)


def _blocks(rows: pl.LazyFrame, read: Callable[[pl.DataFrame], Floats]) -> Blocks:
    for batch in rows.select("image_id", "embedding").collect_batches(chunk_size=ROWS, maintain_order=True):
        if len(batch):
            yield batch["image_id"], read(batch)


def allocate(count: int, dim: int, folder: Path) -> Floats:
    """Returns memory for vectors, or an unnamed file, which the system frees with the last array on it."""
    if 4 * count * dim <= IN_MEMORY:
        return np.empty((count, dim), np.float32)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.float32, "w+", shape=(count, dim))


def _gallery(reader: Reader, path: Path) -> tuple[int, Blocks]:
    """Returns the number of images of a gallery, and those that the study does not have."""
    other = Reader(path)
    if other.exists():
        _refuse_study(reader, other)
        rows = other.rows().filter(pl.col("view") == ORIGINAL)
        count, blocks = int(rows.select(pl.len()).collect().item()), _blocks(rows, other.vectors)
        if reader.info.has_pixels and other.info.has_pixels:
            return count, _named(_blocks(_other_pixels(reader, rows, count), other.vectors))
        return count, _named(_others(reader, blocks, by_id=not other.info.source.get("numbered")))
    if path.is_dir():
        raise UsageError(f"`gallery`: {path}: no study in this folder")
    try:
        part = open_part(path, ORIGINAL, named=False)
    except UsageError as error:
        raise UsageError(f"`gallery`: {error}") from error
    if len(part.keys["view"].unique()) != 1:
        words = "views too; name the folder of a study" if len(part.keys) else "no rows"
        raise UsageError(f"`gallery`: {path}: holds {words}")
    by_id = not part.numbered and not part.keys["image_id"].null_count
    ids = part.keys["image_id"].to_pylist() if by_id else [*map(str, range(len(part.keys)))]
    return len(ids), _named(_others(reader, _checked(part, pl.Series("image_id", ids, pl.String)), by_id=by_id))


def _named(blocks: Blocks) -> Blocks:
    return ((GALLERY + ids, vectors) for ids, vectors in blocks)


def _other_pixels(reader: Reader, rows: pl.LazyFrame, count: int) -> pl.LazyFrame:
    """Returns the rows of a gallery of whose pixels the study has no image."""
    pixels = reader.rows().filter(pl.col("view") == ORIGINAL).select("pixels").collect()["pixels"]
    is_own = pl.col("pixels").is_in(pixels.drop_nulls().implode()).fill_null(value=False)
    _say(count - int(rows.select((~is_own).sum()).collect().item()))
    return rows.filter(~is_own)


def _others(reader: Reader, gallery: Blocks, *, by_id: bool) -> Blocks:
    """Yields the images of a gallery without pixels but those of the study: of the same id, or the same vector."""
    raw = dataclasses.replace(reader, whitening=None)
    own = [(ids, _hashes(v)) for ids, v in _blocks(raw.rows().filter(pl.col("view") == ORIGINAL), raw.vectors)]
    own_ids, own_hashes = pl.concat(ids for ids, _ in own).implode(), np.concatenate([hashes for _, hashes in own])
    left_out = 0
    for ids, vectors in gallery:
        is_own = np.isin(_hashes(vectors), own_hashes)
        if by_id:
            is_own |= ids.is_in(own_ids).to_numpy()
        left_out += int(is_own.sum())
        yield ids.filter(pl.Series(~is_own)), vectors[~is_own]
    _say(left_out)


def _hashes(vectors: Floats) -> NDArray[np.int64]:
    return np.array([hash(vector.tobytes()) for vector in vectors], np.int64)


def _say(left_out: int) -> None:
    if left_out:
        log.info("%d images of the gallery are also in the study; skipping them in the gallery", left_out)


def _checked(part: Part, ids: pl.Series) -> Blocks:
    """Yields the vectors of a file and refuses wrong content, which is known only during reading."""
    row = 0
    try:
        for matrix in part.matrices():
            with np.errstate(over="ignore"):
                vectors = np.asarray(matrix, np.float32)
            usable = np.isfinite(vectors).all(axis=-1) & (np.abs(vectors) > 0).any(axis=-1)
            if not usable.all():
                raise UsageError(f"{part.name}: row {row + int(np.argmin(usable))} is no vector: not finite, or all 0")
            yield ids[row : row + len(vectors)], vectors
            row += len(vectors)
    except UsageError as error:
        raise UsageError(f"`gallery`: {error}") from error


def _refuse_study(reader: Reader, other: Reader) -> None:
    if not other.info.has_vectors:
        raise UsageError(f"`gallery`: {other.folder}: stores no embeddings; run it with `store` all")
    if not other.info.complete:
        raise UsageError(f"`gallery`: {other.unfinished()}")
    own, foreign = reader.info.encoder, other.info.encoder
    if (foreign.weights_hash, foreign.embedding) != (own.weights_hash, own.embedding):
        raise UsageError(f"`gallery`: {other.folder}: of another encoder, {foreign.name} ({foreign.embedding})")
