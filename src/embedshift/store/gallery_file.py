"""A file of vectors as a gallery: one vector an image, or that of the whole image and those of its tiles."""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import Floats
from embedshift.augmentations import ORIGINAL
from embedshift.errors import UsageError
from embedshift.sources.vectors import MOST_TILES, Part, open_part
from embedshift.statistics.retrieval import Positions, release_memory
from embedshift.statistics.vector_layouts import OF_GALLERY, TILE_VECTORS, TILES, in_gallery

# Rows of a file at once, and bytes of vectors up to which they are kept in memory.
ROWS, IN_MEMORY = 8_192, 32 * 2**20

# The ids of some images, their pixels where they are known, and their vectors.
Blocks = Iterator[tuple[pl.DataFrame, Floats]]


@dataclass(frozen=True)
class GalleryFile:
    """How many images a file holds, and the most vectors of one; these; and the column that names images, "" = none."""

    images: int
    several: int
    blocks: Blocks
    key: str


def read_gallery(path: Path, layout: str, folder: Path) -> GalleryFile:
    """Opens a file for a layout; what does not fit into memory is in a file without a name in the folder.

    Raises:
        UsageError: The file cannot be read, or lacks what the layout needs.
    """
    part = open_part(path, ORIGINAL, named=False)
    if len(part.keys["view"].unique()) != 1:
        raise UsageError(f"{path}: holds {'views too; name the folder of a study' if len(part.keys) else 'no rows'}")
    is_named = not part.numbered and not part.keys["image_id"].null_count
    ids = part.keys["image_id"].to_pylist() if is_named else [*map(str, range(len(part.keys)))]
    tiles, column = part.keys["tile"].to_numpy(), OF_GALLERY.get(layout)
    if column is not None and not (column == TILE_VECTORS and tiles.any()):
        words = "has one vector an image" if column == TILE_VECTORS else "has no vectors of mirror images"
        raise UsageError(f"{path}: {words}, and `layout` {layout} needs more")
    if not tiles.any():
        return GalleryFile(len(ids), 1, _checked(part, pl.DataFrame({"image_id": ids})), "image_id" if is_named else "")
    if not is_named:
        raise UsageError(f"{path}: tiles need the column 'image_id', which says of which image they are")
    tiled = _Tiled.of(path, ids, tiles)
    several = 1 + int(tiles.max()) if layout == TILES else 1
    blocks = tiled.blocks(_checked(part, pl.DataFrame()), layout, folder)
    return GalleryFile(len(tiled.ids), several, blocks, "image_id")


def allocate(shape: tuple[int, ...], folder: Path) -> Floats:
    """Returns memory for vectors, or an unnamed file, which the system frees with the last array on it."""
    if 4 * math.prod(shape) <= IN_MEMORY:
        return np.empty(shape, np.float32)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.float32, "w+", shape=shape)


def mapped(
    vectors: Floats,
    function: Callable[[Floats], Floats],
    folder: Path,
    *,
    rows: Positions | None = None,
    step: int = ROWS,
) -> Floats:
    """Returns vectors, all or some, through a function; those of many images are in a file, as the given ones."""
    rows = np.arange(len(vectors)) if rows is None else rows
    made = allocate((len(rows), *vectors.shape[1:]), folder)
    for start in range(0, len(rows), step):
        part = vectors[rows[start : start + step]]
        made[start : start + step] = function(part.reshape(-1, part.shape[-1])).reshape(part.shape)
        for array in (made, vectors):
            release_memory(array, len(array))
    return made


def _checked(part: Part, keys: pl.DataFrame) -> Blocks:
    """Yields the vectors of a file and refuses wrong content, which is known only during reading."""
    row = 0
    try:
        for vectors in part.floats():
            usable = np.isfinite(vectors).all(axis=-1) & (np.abs(vectors) > 0).any(axis=-1)
            if not usable.all():
                raise UsageError(f"{part.name}: row {row + int(np.argmin(usable))} is no vector: not finite, or all 0")
            yield keys[row : row + len(vectors)], vectors
            row += len(vectors)
    except UsageError as error:
        raise UsageError(f"`gallery`: {error}") from error


@dataclass(frozen=True)
class _Tiled:
    """The images of a file in their order, and of which image and tile each row is; 0 = the whole image."""

    ids: pl.Series
    image: NDArray[np.intp]
    tile: NDArray[np.int64]

    @classmethod
    def of(cls, path: Path, names: Sequence[str], tiles: NDArray[np.int64]) -> "_Tiled":
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        found = cls(pl.Series("image_id", [*numbers]), np.array([numbers[name] for name in names], np.intp), tiles)
        for row in np.flatnonzero((tiles < 0) | (tiles > MOST_TILES))[:1].tolist():
            words = f"0 is the whole image, and its tiles are 1 to {MOST_TILES} at most"
            raise UsageError(f"{path}: row {row} has the tile {tiles[row]}; {words}")
        counts = np.zeros((len(numbers), 1 + int(tiles.max())), np.int64)
        np.add.at(counts, (found.image, tiles), 1)
        if (counts > 1).any():
            place, tile = (int(number) for number in np.argwhere(counts > 1)[0])
            raise UsageError(f"{path}: image {found.ids[place]!r} has two vectors of tile {tile}; give one")
        if (without := np.flatnonzero(counts[:, 0] == 0)).size:
            raise UsageError(f"{path}: image {found.ids[int(without[0])]!r} has no vector of the whole image, tile 0")
        return found

    def blocks(self, rows: Blocks, layout: str, folder: Path) -> Blocks:
        """Yields images with the vectors that a layout keeps; the rows are in any order."""
        width, start, memory = 1 + int(self.tile.max()), 0, np.empty((0, 0, 0), np.float32)
        for _, vectors in rows:
            if not start:
                memory = allocate((len(self.ids), width, vectors.shape[1]), folder)
                memory[:] = np.nan
            part = slice(start, start + len(vectors))
            memory[self.image[part], self.tile[part]] = vectors
            start += len(vectors)
            release_memory(memory, len(memory))
        for first in range(0, len(self.ids), ROWS):
            block = np.asarray(memory[first : first + ROWS])
            yield self.ids[first : first + ROWS].to_frame(), in_gallery(layout, block[:, 0], block[:, 1:])
