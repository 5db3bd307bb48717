"""The vectors to search among: the originals of a study, and those of an additional gallery."""

import itertools
import logging
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

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
    names = [rows.select("image_id").collect()["image_id"]]
    parts = [_vectors(rows, reader.vectors)]
    images = count = len(names[0])
    if path:
        gallery_ids, gallery_vectors = _gallery(reader, Path(path).expanduser())
        names.append(gallery_ids)
        parts.append(gallery_vectors)
        count += len(gallery_ids)
    dim = reader.info.encoder.dim
    memory, filled = allocate(count, dim, reader.folder), 0
    for part in itertools.chain.from_iterable(parts):
        if part.ndim != 2 or part.shape[1] != dim:
            raise UsageError(
                f"`gallery`: {path}: its vectors have {part.shape[-1]} numbers, those of this encoder {dim}"
            )
        if filled >= images and reader.whitening is not None:  # of the gallery
            part = reader.whitening(part)
        memory[filled : filled + len(part)] = part
        filled += len(part)
        release_memory(memory, filled)
    groups = None
    if reader.units is not None:  # an image of the gallery is a group of its own
        groups = np.concatenate([reader.units, len(reader.units) + np.arange(filled - images)])
    return Originals(pl.concat(names), Gallery.of(memory[:filled], groups), images)


def _vectors(rows: pl.LazyFrame, read: Callable[[pl.DataFrame], Floats]) -> Iterator[Floats]:
    for batch in rows.select("embedding").collect_batches(chunk_size=ROWS, maintain_order=True):
        if len(batch):
            yield read(batch)


def allocate(count: int, dim: int, folder: Path) -> Floats:
    """Returns memory for vectors, or an unnamed file, which the system frees with the last array on it."""
    if 4 * count * dim <= IN_MEMORY:
        return np.empty((count, dim), np.float32)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.float32, "w+", shape=(count, dim))


def _gallery(reader: Reader, path: Path) -> tuple[pl.Series, Iterator[Floats]]:
    if Reader(path).exists():
        return _read_study(reader, Reader(path))
    if path.is_dir():
        raise UsageError(f"`gallery`: {path}: no study in this folder")
    try:
        part = open_part(path, ORIGINAL, named=False)
    except UsageError as error:
        raise UsageError(f"`gallery`: {error}") from error
    if len(part.keys["view"].unique()) != 1:
        words = "views too; name the folder of a study" if len(part.keys) else "no rows"
        raise UsageError(f"`gallery`: {path}: holds {words}")
    ids = pl.Series("image_id", [f"{GALLERY}{row}" for row in range(len(part.keys))], pl.String)
    return ids, _checked(part)


def _checked(part: Part) -> Iterator[Floats]:
    """Yields the vectors of a file and refuses wrong content, which is known only during reading."""
    row = 0
    try:
        for matrix in part.matrices():
            with np.errstate(over="ignore"):
                vectors = np.asarray(matrix, np.float32)
            usable = np.isfinite(vectors).all(axis=-1) & (np.abs(vectors) > 0).any(axis=-1)
            if not usable.all():
                raise UsageError(f"{part.name}: row {row + int(np.argmin(usable))} is no vector: not finite, or all 0")
            row += len(vectors)
            yield vectors
    except UsageError as error:
        raise UsageError(f"`gallery`: {error}") from error


def _read_study(reader: Reader, other: Reader) -> tuple[pl.Series, Iterator[Floats]]:
    """Returns the originals of another study, without images whose pixels this study has."""
    if not other.info.has_vectors:
        raise UsageError(f"`gallery`: {other.folder}: stores no embeddings; run it with `store` all")
    if not other.info.complete:
        raise UsageError(f"`gallery`: {other.unfinished()}")
    own, foreign = reader.info.encoder, other.info.encoder
    if (foreign.weights_hash, foreign.embedding) != (own.weights_hash, own.embedding):
        raise UsageError(f"`gallery`: {other.folder}: of another encoder, {foreign.name} ({foreign.embedding})")
    pixels = reader.rows().filter(pl.col("view") == ORIGINAL).select("pixels").collect()["pixels"]
    originals = other.rows().filter(pl.col("view") == ORIGINAL)
    is_duplicate = pl.col("pixels").is_in(pixels.drop_nulls().implode()).fill_null(value=False)
    kept = originals.filter(~is_duplicate)
    ids = kept.select(pl.lit(GALLERY) + pl.col("image_id")).collect().to_series()
    if duplicates := len(originals.select("view").collect()) - len(ids):
        log.info("%d images of the gallery are also in the study; skipping them in the gallery", duplicates)
    return ids.alias("image_id"), _vectors(kept, other.vectors)
