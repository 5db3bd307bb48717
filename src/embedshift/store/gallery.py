"""The vectors to search among: the originals of a study, and those of an additional gallery."""

import dataclasses
import itertools
import logging
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import Floats
from embedshift.augmentations import ORIGINAL
from embedshift.config.safe_files import expanded
from embedshift.errors import UsageError
from embedshift.sources.vectors import Part, open_part
from embedshift.statistics.retrieval import Gallery, release_memory
from embedshift.store.info import is_same_encoder
from embedshift.store.naming import GALLERY
from embedshift.store.reader import Reader

log = logging.getLogger(__name__)

# Rows of a file at once, and bytes of vectors up to which they are kept in memory.
ROWS, IN_MEMORY = 8_192, 32 * 2**20

# The ids of some images, their pixels where they are known, and their vectors.
Blocks = Iterator[tuple[pl.DataFrame, Floats]]


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
    rows = reader.rows().filter(pl.col("view") == ORIGINAL)
    images = count = int(rows.select(pl.len()).collect().item())
    blocks = _blocks(rows)
    if path:
        more, gallery = _gallery(reader, expanded(path))
        count, blocks = count + more, itertools.chain(blocks, gallery)
    dim = reader.info.encoder.dim
    memory, filled, names = allocate(count, dim, reader.folder), 0, list[pl.Series]()
    for keys, vectors in blocks:
        if vectors.ndim != 2 or vectors.shape[1] != dim:
            raise UsageError(
                f"`gallery`: {path}: its vectors have {vectors.shape[-1]} numbers, those of this encoder {dim}"
            )
        names.append(keys["image_id"])
        if filled >= images:  # of the gallery
            names[-1] = GALLERY + names[-1]
            vectors = vectors if reader.whitening is None else reader.whitening(vectors)
        memory[filled : filled + len(vectors)] = vectors
        filled += len(vectors)
        release_memory(memory, filled)
    groups = None
    if reader.groups is not None:  # an image of the gallery is a group of its own
        groups = np.concatenate([reader.groups, len(reader.groups) + np.arange(filled - images)])
    return Originals(pl.concat(names), Gallery.of(memory[:filled], groups), images)


def _blocks(rows: pl.LazyFrame) -> Blocks:
    for batch in rows.select("image_id", "pixels", "embedding").collect_batches(chunk_size=ROWS, maintain_order=True):
        if len(batch):
            yield batch, batch["embedding"].to_numpy()


def allocate(count: int, dim: int, folder: Path) -> Floats:
    """Returns memory for vectors, or an unnamed file, which the system frees with the last array on it."""
    if 4 * count * dim <= IN_MEMORY:
        return np.empty((count, dim), np.float32)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.float32, "w+", shape=(count, dim))


def _gallery(reader: Reader, path: Path) -> tuple[int, Blocks]:
    other = Reader(path)
    if other.exists():
        _refuse_study(reader, other)
        rows = other.rows().filter(pl.col("view") == ORIGINAL)
        key = "" if other.info.source.get("numbered") else "image_id"
        key = "pixels" if reader.info.has_pixels and other.info.has_pixels else key
        return int(rows.select(pl.len()).collect().item()), _others(reader, _blocks(rows), key)
    if path.is_dir():
        raise UsageError(f"`gallery`: {path}: no study in this folder")
    try:
        part = open_part(path, ORIGINAL, named=False)
    except UsageError as error:
        raise UsageError(f"`gallery`: {error}") from error
    count = len(part.keys)
    if len(part.keys["view"].unique()) != 1:
        words = "views too; name the folder of a study" if count else "no rows"
        raise UsageError(f"`gallery`: {path}: holds {words}")
    is_named = not part.numbered and not part.keys["image_id"].null_count
    ids = part.keys["image_id"].to_pylist() if is_named else [*map(str, range(count))]
    return count, _others(reader, _checked(part, pl.DataFrame({"image_id": ids})), "image_id" if is_named else "")


def _others(reader: Reader, gallery: Blocks, key: str) -> Blocks:
    """Yields the images of a gallery without those of the study: of one `key`, or if it is not pixels of one vector."""
    raw = dataclasses.replace(reader, whitening=None)
    rows = raw.rows().filter(pl.col("view") == ORIGINAL)
    own = rows.select(key).collect()[key].drop_nulls().implode() if key else None
    hashes = _hashes(vectors for _, vectors in (_blocks(rows) if key != "pixels" else ()))
    left_out = 0
    for keys, vectors in gallery:
        is_own = np.isin(_hashes([vectors]), hashes) if len(hashes) else np.zeros(len(vectors), bool)
        if own is not None:
            is_own |= keys[key].is_in(own).fill_null(value=False).to_numpy()
        left_out += int(is_own.sum())
        yield keys.filter(~is_own), vectors[~is_own]
    if left_out:
        log.info("%d images of the gallery are also in the study; skipping them in the gallery", left_out)


def _hashes(blocks: Iterable[Floats]) -> NDArray[np.int64]:
    return np.array([hash(vector.tobytes()) for block in blocks for vector in block], np.int64)


def _checked(part: Part, keys: pl.DataFrame) -> Blocks:
    """Yields the vectors of a file and refuses wrong content, which is known only during reading."""
    row = 0
    try:
        for matrix in part.matrices():
            with np.errstate(over="ignore"):
                vectors = np.asarray(matrix, np.float32)
            usable = np.isfinite(vectors).all(axis=-1) & (np.abs(vectors) > 0).any(axis=-1)
            if not usable.all():
                raise UsageError(f"{part.name}: row {row + int(np.argmin(usable))} is no vector: not finite, or all 0")
            yield keys[row : row + len(vectors)], vectors
            row += len(vectors)
    except UsageError as error:
        raise UsageError(f"`gallery`: {error}") from error


def _refuse_study(reader: Reader, other: Reader) -> None:
    if not other.info.has_vectors:
        raise UsageError(f"`gallery`: {other.folder}: stores no embeddings; run it with `store` all")
    if not other.info.complete:
        raise UsageError(f"`gallery`: {other.unfinished()}")
    if not is_same_encoder(reader.info, other.info):
        foreign = other.info.encoder
        raise UsageError(f"`gallery`: {other.folder}: of another encoder, {foreign.name} ({foreign.embedding})")
