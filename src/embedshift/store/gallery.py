"""The gallery: vectors of a study's originals and of an additional gallery."""

import contextlib
import dataclasses
import itertools
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy
from numpy.typing import NDArray

from embedshift.arrays import ROWS, Floats, allocate, release_memory
from embedshift.augmentations import ORIGINAL
from embedshift.config.safe_files import expanded
from embedshift.errors import UsageError
from embedshift.sources.vectors import VectorGrid, VectorSet
from embedshift.statistics.retrieval import TIE, Gallery
from embedshift.statistics.vector_layouts import OF_GALLERY, ONE, TILE_VECTORS, TILES, in_gallery
from embedshift.statistics.vectors import normalised_float32
from embedshift.store.info import is_same_encoder
from embedshift.store.naming import GALLERY
from embedshift.store.reader import Reader

log = logging.getLogger(__name__)

# Dimensions, drawn at random, in which directions are compared.
COMPARED = 16
# The ids of some images, their pixels where they are known, and their vectors.
Blocks = Iterator[tuple[pl.DataFrame, Floats]]


@dataclass(frozen=True)
class Originals:
    ids: pl.Series
    gallery: Gallery
    images: int

    @property
    def searched(self) -> int:
        """Number of originals in a view's search; the mean, if those of its own group are omitted."""
        groups = self.gallery.groups
        if groups is None:
            return len(self.gallery)
        return 1 + round(len(groups) - float(np.bincount(groups)[groups[: self.images]].mean()))


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions of vectors, by which those of another length or precision are known again.

    Distances of unit vectors are taken after an orthogonal projection, which keeps them in proportion (Johnson and
    Lindenstrauss 1984), so that a tree finds an equal one among millions.
    """

    projection: Floats
    tree: scipy.spatial.cKDTree
    least: float

    @classmethod
    def of(cls, blocks: Iterable[Floats], dim: int) -> "Directions":
        kept = min(COMPARED, dim)
        projection = np.linalg.qr(np.random.default_rng(0).normal(size=(dim, kept)))[0].astype(np.float32)
        points = [_whole(block) @ projection for block in blocks]
        there = [part[part.any(axis=1)] for part in points] or [np.zeros((0, kept), np.float32)]
        return cls(projection, scipy.spatial.cKDTree(np.concatenate(there)), float(np.sqrt(2 * TIE * kept / dim)))

    def have(self, vectors: Floats) -> NDArray[np.bool_]:
        """Returns whether each of vectors `[n, D]`, or the first of each of `[n, m, D]`, has one of the directions."""
        points = _whole(vectors) @ self.projection
        found = self.tree.query(points, distance_upper_bound=self.least)[0]
        return np.asarray(np.isfinite(found) & points.any(axis=1))


def _whole(vectors: Floats) -> Floats:
    return normalised_float32(np.nan_to_num(vectors if vectors.ndim == 2 else vectors[:, 0]))


def originals(reader: Reader, path: str = "", layout: str = ONE, *, has_own: bool = False) -> Originals:
    """Returns the originals of a study, then the images of a gallery: all (`has_own`), or those that it lacks."""
    refuse_without(reader, layout)
    rows = reader.rows().filter(pl.col("view") == ORIGINAL)
    images = count = int(rows.select(pl.len()).collect().item())
    blocks, several = _blocks(rows, layout), several_of(reader, layout)
    if path:
        more, most, gallery = _gallery(reader, expanded(path), layout, has_own=has_own)
        count, several, blocks = count + more, max(several, most), itertools.chain(blocks, gallery)
    dim = reader.dim
    memory, filled, names = allocate((count, several, dim), reader.folder), 0, list[pl.Series]()
    for keys, vectors in blocks:
        names.append(keys["image_id"])
        if filled >= images:  # of the gallery
            names[-1] = GALLERY + names[-1]
            vectors = vectors if reader.index is None else reader.index.mapped(vectors)
        own = vectors[:, None] if vectors.ndim == 2 else vectors
        part = memory[filled : filled + len(own)]
        part[:, : own.shape[1]], part[:, own.shape[1] :] = own, 0
        filled += len(own)
        release_memory(memory, filled)
    groups = None
    if reader.groups is not None:  # each image of the gallery is its own group
        groups = np.concatenate([reader.groups, len(reader.groups) + np.arange(filled - images)])
    kept = memory[:filled] if several > 1 else memory[:filled, 0]
    return Originals(pl.concat(names), Gallery.of(kept, groups), images)


def refuse_without(reader: Reader, layout: str) -> None:
    """Refuses a layout whose columns a study lacks."""
    needed = OF_GALLERY.get(layout)
    if needed is not None and needed not in reader.image_rows.columns:
        raise UsageError(f"{reader.folder}: `layout` {layout} needs a study that was run with `{needed}`")


def several_of(reader: Reader, layout: str) -> int:
    """Returns the number of vectors per image in the gallery."""
    if layout != TILES:
        return 1
    return 1 + int(reader.info.config["tiles"])


def gallery_columns(layout: str) -> list[str]:
    """Returns the columns of rows from which `gallery_of` makes vectors of the gallery."""
    return ["embedding", *([OF_GALLERY[layout]] if layout in OF_GALLERY else [])]


def gallery_of(block: pl.DataFrame, layout: str) -> Floats:
    """Returns the gallery's vectors of the originals of a block, `[n, D]` or `[n, m, D]`."""
    whole = block["embedding"].to_numpy()
    if layout not in OF_GALLERY:
        return whole
    more = block[OF_GALLERY[layout]].explode().to_numpy()
    return in_gallery(layout, whole, more.reshape(len(block), -1, whole.shape[1]))


def _blocks(rows: pl.LazyFrame, layout: str = ONE) -> Blocks:
    for batch in rows.select("image_id", "pixels", *gallery_columns(layout)).collect_batches(
        chunk_size=ROWS, maintain_order=True
    ):
        if len(batch):
            yield batch, gallery_of(batch, layout)


def _gallery(reader: Reader, path: Path, layout: str, *, has_own: bool) -> tuple[int, int, Blocks]:
    """Returns the number of images of a gallery, the maximum vectors per image, and the vectors."""
    other = Reader(path)
    if other.exists():
        _refuse_study(reader, other)
        refuse_without(other, layout)
        rows = other.rows().filter(pl.col("view") == ORIGINAL)
        key = "" if other.info.source.get("numbered") else "image_id"
        key = "pixels" if reader.info.has_pixels and other.info.has_pixels else key
        count = int(rows.select(pl.len()).collect().item())
        blocks = _blocks(rows, layout)
        return count, several_of(other, layout), _others(reader, path, blocks, key, layout, has_own=has_own)
    if path.is_dir():
        raise UsageError(f"`gallery`: {path}: no study in this folder")
    with _of_gallery():
        images, several, key, blocks = _of_file(path, layout, reader.folder)
    return images, several, _others(reader, path, blocks, key, layout, has_own=has_own)


@contextlib.contextmanager
def _of_gallery() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        raise UsageError(f"`gallery`: {error}") from error


def _of_file(path: str | Path, layout: str, folder: Path) -> tuple[int, int, str, Blocks]:
    """Opens a file: how many images it holds, the most vectors of one, the column that names them or "", and these."""
    vectors, column = VectorSet.open(path, named=False), OF_GALLERY.get(layout)
    path = vectors.name
    if len(vectors.keys["view"].unique()) != 1:
        raise UsageError(f"{path}: holds {'views too; name the folder of a study' if len(vectors) else 'no rows'}")
    has_tiles = bool(vectors.keys["tile"].to_numpy().any())
    if column is not None and not (column == TILE_VECTORS and has_tiles):
        words = "has one vector an image" if column == TILE_VECTORS else "has no vectors of mirror images"
        raise UsageError(f"{path}: {words}, and `layout` {layout} needs more")
    is_named = not vectors.is_numbered and not vectors.keys["image_id"].null_count
    if has_tiles and not is_named:
        raise UsageError(f"{path}: tiles need the column 'image_id', which says of which image they are")
    if not has_tiles:
        ids = vectors.keys["image_id"].to_pylist() if is_named else [*map(str, range(len(vectors)))]
        return len(ids), 1, "image_id" if is_named else "", _single(vectors, pl.DataFrame({"image_id": ids}))
    grid = vectors.of_originals().grid()
    return len(grid.ids), 1 + grid.tiles if layout == TILES else 1, "image_id", _tiled(grid, layout, folder)


def _single(vectors: VectorSet, ids: pl.DataFrame) -> Blocks:
    start = 0
    with _of_gallery():
        for block in vectors.blocks(zeros=False, infinite=False):
            yield ids[start : start + len(block)], block
            start += len(block)


def _tiled(grid: VectorGrid, layout: str, folder: Path) -> Blocks:
    with _of_gallery():
        memory, ids = grid.read(folder=folder, strict=True), pl.Series("image_id", grid.ids)
    for first in range(0, len(ids), ROWS):
        block = np.asarray(memory[first : first + ROWS])
        yield ids[first : first + ROWS].to_frame(), in_gallery(layout, block[:, 0], block[:, 1:])


def _others(reader: Reader, path: Path, gallery: Blocks, key: str, layout: str, *, has_own: bool) -> Blocks:
    """Yields the images of a gallery that the study lacks, known by direction, and by `key`, such as pixels; or all."""
    raw = dataclasses.replace(reader, index=None)
    rows = raw.rows().filter(pl.col("view") == ORIGINAL)
    own = rows.select(key).collect()[key].drop_nulls().hash().to_numpy() if key else np.zeros(0, np.uint64)
    dim = reader.info.encoder.dim
    directions = Directions.of((vectors for _, vectors in _blocks(rows, layout)), dim)
    own, left_out = np.unique(own), 0
    for keys, vectors in gallery:
        if vectors.shape[-1] != dim:
            numbers = f"{vectors.shape[-1]} numbers, those of this encoder {dim}"
            raise UsageError(f"`gallery`: {path}: its vectors have {numbers}")
        if has_own:
            yield keys, vectors
            continue
        is_own = directions.have(vectors)
        if key:
            is_own |= keys[key].is_not_null().to_numpy() & _are_among(keys[key].hash().to_numpy(), own)
        left_out += int(is_own.sum())
        yield keys.filter(~is_own), vectors[~is_own]
    if left_out:
        log.info("%d images of the gallery are also in the study; skipping them in the gallery", left_out)


def _are_among(values: NDArray[Any], known: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns which values are among known ones, in order, by lookup: each block may have millions."""
    places = np.searchsorted(known, values)
    return known[np.minimum(places, len(known) - 1)] == values if len(known) else np.zeros(len(values), np.bool_)


def _refuse_study(reader: Reader, other: Reader) -> None:
    if not other.info.has_vectors:
        raise UsageError(f"`gallery`: {other.folder}: stores no embeddings; run it with `store` all")
    if not other.info.complete:
        raise UsageError(f"`gallery`: {other.unfinished()}")
    if not is_same_encoder(reader.info, other.info):
        foreign = other.info.encoder
        raise UsageError(f"`gallery`: {other.folder}: of another encoder, {foreign.name} ({foreign.embedding})")
