"""Exact search by cosine similarity: finds the rank of the right vector among all others by counting.

Cosines come from float32 products, block by block of the gallery. Cosines within `NEAR` of a decision are computed
again in float64, so that ranks are exact and equal vectors are ties. Memory does not grow with the gallery.
"""

import functools
import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Floats, Values

# Largest error of cosines from float32 products; and the difference up to which exact cosines are ties.
NEAR, TIE = 1e-5, 1e-12
_LEAST = np.float32(-2.0)
# Vectors of the gallery at once; and candidates beside those that are wanted, since float32 cannot order near ties.
BLOCK, SPARE = 8_192, 16

Places = NDArray[np.int64]
# Row and columns of a block → exact cosines.
Exactly = Callable[[int, Places], Values]


@dataclass(frozen=True)
class Gallery:
    """The vectors to search among."""

    vectors: Floats
    lengths: Values

    @classmethod
    def of(cls, vectors: ArrayLike) -> "Gallery":
        """Makes a gallery of vectors `[n, D]`."""
        array = np.asanyarray(vectors, np.float32)  # a mapped file stays one
        lengths = np.zeros(len(array))
        for start in range(0, len(array), BLOCK):
            part = array[start : start + BLOCK].astype(np.float64)
            lengths[start : start + BLOCK] = np.linalg.norm(part, axis=1)
            let_go(array, start + BLOCK)
        return cls(array, lengths)

    def __len__(self) -> int:
        return len(self.vectors)

    def blocks(self) -> Iterator[tuple[int, Floats, NDArray[np.bool_]]]:
        """Yields blocks: place of the first vector, unit vectors `[b, D]`, and which vectors lack a direction `[b]`."""
        for start in range(0, len(self), BLOCK):
            lengths = self.lengths[start : start + BLOCK]
            none = lengths == 0
            scale = (1.0 / np.where(none, 1.0, lengths)).astype(np.float32)
            yield start, self.vectors[start : start + BLOCK] * scale[:, None], none
            let_go(self.vectors, start + BLOCK)

    def cosines(self, queries: Values, places: Places) -> Values:
        """Returns exact cosines of some of its vectors; equal vectors give equal bits."""
        with np.errstate(invalid="ignore", divide="ignore"):
            units = self.vectors[places].astype(np.float64) / self.lengths[places][..., None]
        return np.asarray((queries * units).sum(axis=-1))


def let_go(vectors: Floats, count: int) -> None:
    """Releases the first vectors of a memory-mapped file from memory; they are read again on the next access."""
    mapped = getattr(vectors, "_mmap", None)
    if mapped is None or not hasattr(mmap, "MADV_DONTNEED"):
        return
    pages = min(count, len(vectors)) * vectors.strides[0] // mmap.PAGESIZE
    if pages:
        mapped.madvise(mmap.MADV_DONTNEED, 0, pages * mmap.PAGESIZE)


@dataclass(frozen=True)
class Ranked:
    """The result of a search, one entry per query."""

    rank: Places
    cosine: Values
    others: Values
    places: Places


def search(queries: ArrayLike, right: ArrayLike, gallery: Gallery, *, count: int) -> Ranked:
    """Ranks the right vectors, and finds the nearest other ones."""
    raw, own = np.asarray(queries, np.float64), np.asarray(right, np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        exact = raw / np.linalg.norm(raw, axis=-1, keepdims=True)
    known = np.isfinite(exact).all(axis=-1)
    cosine = gallery.cosines(exact, own)
    units = np.where(known[:, None], exact, 0.0)
    count = min(count, max(0, len(gallery) - 1))
    nearest, better = _Nearest(len(raw), min(count + SPARE, len(gallery)) if count else 0), np.zeros(len(raw), np.int64)
    single, limits = units.astype(np.float32), np.nan_to_num(cosine)[:, None]
    for start, block, none in gallery.blocks():
        cosines = single @ block.T
        cosines[:, none] = -np.inf
        here = np.flatnonzero((own >= start) & (own < start + len(block)))
        cosines[here, own[here] - start] = -np.inf
        better += _better(cosines, limits, functools.partial(_exactly, gallery, units, start))
        nearest.add(cosines, start)
    rank = np.where(np.isfinite(cosine), 1 + better, 0)
    others, places = (each[:, :count] for each in nearest.exact(units, gallery))
    let_go(gallery.vectors, len(gallery))
    return Ranked(rank, cosine, np.where(known[:, None], others, np.nan), np.where(known[:, None], places, -1))


def _exactly(gallery: Gallery, units: Values, start: int, row: int, columns: Places) -> Values:
    return gallery.cosines(units[row], start + columns)


def _better(cosines: Floats, limits: Values, exactly: Exactly) -> Places:
    """Counts for each row `[q, b]` the cosines that reach its limit `[q, 1]`; decides close ones exactly."""
    low, high = ((limits + off).astype(np.float32) for off in (-NEAR, NEAR))
    better = _count(cosines >= low)
    rows = np.flatnonzero(better)  # few, where most views are found
    near = rows[_count(cosines[rows] > high[rows]) < better[rows]]
    for row in near:
        at = np.flatnonzero((cosines[row] >= low[row]) & (cosines[row] <= high[row]))
        better[row] -= int((exactly(int(row), at) < limits[row] - TIE).sum())
    return better


def _count(mask: NDArray[np.bool_]) -> Places:
    # Row by row: with an axis NumPy adds up numbers, which takes ten times as long.
    return np.array([np.count_nonzero(row) for row in mask], np.int64)


class _Nearest:
    """The highest cosines of every query so far; ties are in order of place."""

    def __init__(self, queries: int, count: int) -> None:
        self.cosines = np.full((queries, count), -np.inf, np.float32)
        self.places = np.full((queries, count), -1, np.int64)

    def add(self, cosines: Floats, start: int) -> None:
        """Adds cosines with the vectors of a block `[q, b]` whose first vector has the place `start`."""
        count = self.cosines.shape[1]
        if not count:
            return
        least = self.cosines[:, -1:]
        if np.isneginf(least).any() and cosines.shape[1] > count:
            least = np.maximum(least, np.partition(cosines, -count, axis=1)[:, -count, None])
        # Of a flat array, of which NumPy finds the places five times as fast.
        rows, columns = np.divmod(np.flatnonzero(cosines >= np.maximum(least, _LEAST)), cosines.shape[1])
        if not len(rows):
            return
        of_row = np.bincount(rows, minlength=len(cosines))
        within = np.arange(len(rows)) - (np.cumsum(of_row) - of_row)[rows]
        active = np.flatnonzero(of_row)
        line = np.searchsorted(active, rows)
        width = count + int(of_row.max())
        values = np.full((len(active), width), -np.inf, np.float32)
        places = np.full((len(active), width), -1, np.int64)
        values[:, :count], places[:, :count] = self.cosines[active], self.places[active]
        values[line, count + within], places[line, count + within] = cosines[rows, columns], start + columns
        best = np.argsort(-values, axis=1, kind="stable")[:, :count]
        self.cosines[active] = np.take_along_axis(values, best, 1)
        self.places[active] = np.take_along_axis(places, best, 1)

    def exact(self, units: Values, gallery: Gallery) -> tuple[Values, Places]:
        """Returns exact cosines, descending, and their places; NaN and -1 if there are fewer."""
        there = self.places >= 0
        cosines = np.full(self.places.shape, np.nan)
        for row in range(len(units)):
            cosines[row, there[row]] = gallery.cosines(units[row], self.places[row, there[row]])
        # By cosine, those without last, then by place: ties of rounding are ties.
        keys = np.where(there, np.round(cosines, 12), -np.inf)
        order = np.lexsort((self.places, -keys), axis=1)
        return np.take_along_axis(cosines, order, 1), np.take_along_axis(self.places, order, 1)
