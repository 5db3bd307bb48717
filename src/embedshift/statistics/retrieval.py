"""Exact search by cosine similarity: finds the rank of the right image among all others by counting.

Cosines come from float32 products, block by block of the gallery. Cosines within `NEAR` of a decision are computed
again in float64, so that ranks are exact and equal vectors are ties. Memory does not grow with the gallery.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Floats, Values, release_memory

# Largest error of cosines from float32 products; and the difference up to which cosines are ties, since stores keep
# vectors in float32: a vector times 3 has another last digit.
NEAR, TIE = 1e-5, 1e-6
_LEAST = np.float32(-2.0)
# Vectors of the gallery at once; and candidates beside those that are wanted, since float32 cannot order near ties.
BLOCK, SPARE = 8_192, 16

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Gallery:
    """Vectors of images, `[n, D]`, and the group of each: one of the right image's group is no result of a search.

    A vector of length 0 is none.
    """

    vectors: Floats
    lengths: Values
    groups: Positions | None = None

    @classmethod
    def of(cls, vectors: ArrayLike, groups: Positions | None = None) -> "Gallery":
        array = np.asanyarray(vectors, np.float32)  # a mapped file stays one
        lengths = np.zeros(array.shape[:-1])
        for start in range(0, len(array), BLOCK):
            part = array[start : start + BLOCK].astype(np.float64)
            lengths[start : start + BLOCK] = np.linalg.norm(part, axis=-1)
            release_memory(array, start + BLOCK)
        return cls(array, lengths, groups)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def has_direction(self) -> NDArray[np.bool_]:
        """Whether each vector has a direction: its length is not 0."""
        return self.lengths > 0

    def blocks(self) -> Iterator[tuple[int, Floats, NDArray[np.bool_]]]:
        """Yields the position of a block's first image, its unit vectors `[b, D]`, and which have none, `[b]`."""
        for start in range(0, len(self), BLOCK):
            lengths = self.lengths[start : start + BLOCK]
            none = lengths == 0
            scale = (1.0 / np.where(none, 1.0, lengths)).astype(np.float32)
            yield start, self.vectors[start : start + BLOCK] * scale[:, None], none
            release_memory(self.vectors, start + BLOCK)

    def cosines_with_others(
        self, queries: Values, right: Positions, own: Positions | None
    ) -> Iterator[tuple[int, Floats]]:
        """Yields the position of a block's first image, and the cosines of queries with the block, `[q, b]`.

        They are −inf with the right image, with those of a query's `own` group, and without a direction.
        """
        single = queries.astype(np.float32)
        for start, block, none in self.blocks():
            cosines = single @ block.T
            cosines[:, none] = -np.inf
            if own is not None and self.groups is not None:
                cosines[own[:, None] == self.groups[start : start + len(block)]] = -np.inf
            here = np.flatnonzero((right >= start) & (right < start + len(block)))
            cosines[here, right[here] - start] = -np.inf
            yield start, cosines

    def cosines(self, queries: Values, positions: Positions) -> Values:
        """Returns the cosines of queries with the images at their positions, in float64."""
        with np.errstate(invalid="ignore", divide="ignore"):
            directions = self.vectors[positions].astype(np.float64) / self.lengths[positions][..., None]
        return np.asarray((queries * directions).sum(axis=-1))


@dataclass(frozen=True)
class Ranked:
    rank: Positions
    cosine: Values
    others: Values
    positions: Positions


def search(queries: ArrayLike, right: ArrayLike, gallery: Gallery, *, count: int) -> Ranked:
    raw, targets = np.asarray(queries, np.float64), np.asarray(right, np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        exact = raw / np.linalg.norm(raw, axis=-1, keepdims=True)
    has_direction = np.isfinite(exact).all(axis=-1)
    cosine = gallery.cosines(exact, targets)
    directions = np.where(has_direction[:, None], exact, 0.0)
    count = min(count, max(0, len(gallery) - 1))
    nearest, better = _Nearest(len(raw), min(count + SPARE, len(gallery)) if count else 0), np.zeros(len(raw), np.int64)
    limits, own = np.nan_to_num(cosine)[:, None], None if gallery.groups is None else gallery.groups[targets]
    for start, cosines in gallery.cosines_with_others(directions, targets, own):
        better += _better(cosines, limits, gallery, directions, start)
        nearest.add(cosines, start)
    rank = np.where(np.isfinite(cosine), 1 + better, 0)
    others, positions = (part[:, :count] for part in exactly_ordered(directions, nearest.positions, gallery))
    release_memory(gallery.vectors, len(gallery))
    return Ranked(
        rank, cosine, np.where(has_direction[:, None], others, np.nan), np.where(has_direction[:, None], positions, -1)
    )


def count_closer(
    queries: Values, limits: Values, gallery: Gallery, right: ArrayLike, own: Positions | None = None
) -> Positions:
    """Counts for each query the vectors, without the right one and its `own` group, whose cosine reaches a limit."""
    closer = np.zeros(len(queries), np.int64)
    for start, cosines in gallery.cosines_with_others(queries, np.asarray(right, np.int64), own):
        closer += _better(cosines, limits[:, None], gallery, queries, start)
    return closer


def _better(cosines: Floats, limits: Values, gallery: Gallery, directions: Values, start: int) -> Positions:
    """Counts for each row `[q, b]` the cosines that reach its limit `[q, 1]`; decides close ones exactly."""
    low, high = ((limits + off).astype(np.float32) for off in (-NEAR, NEAR))
    better = _count(cosines >= low)
    rows = np.flatnonzero(better)  # few, where most views are found
    near = rows[_count(cosines[rows] > high[rows]) < better[rows]]
    for row in near:
        at = np.flatnonzero((cosines[row] >= low[row]) & (cosines[row] <= high[row]))
        better[row] -= int((gallery.cosines(directions[row], start + at) < limits[row] - TIE).sum())
    return better


def _count(mask: NDArray[np.bool_]) -> Positions:
    # Row by row: with an axis NumPy adds up numbers, which takes ten times as long.
    return np.array([np.count_nonzero(row) for row in mask], np.int64)


class _Nearest:
    """The highest cosines of every query so far; ties are in order of position."""

    def __init__(self, queries: int, count: int) -> None:
        self.cosines = np.full((queries, count), -np.inf, np.float32)
        self.positions = np.full((queries, count), -1, np.int64)

    def add(self, cosines: Floats, start: int) -> None:
        """Adds cosines with the vectors of a block `[q, b]` whose first vector has the position `start`."""
        count = self.cosines.shape[1]
        if not count:
            return
        least = self.cosines[:, -1:]
        if np.isneginf(least).any() and cosines.shape[1] > count:
            least = np.maximum(least, np.partition(cosines, -count, axis=1)[:, -count, None])
        # Of a flat array, of which NumPy finds the positions five times as fast.
        rows, columns = np.divmod(np.flatnonzero(cosines >= np.maximum(least, _LEAST)), cosines.shape[1])
        if not len(rows):
            return
        of_row = np.bincount(rows, minlength=len(cosines))
        within = np.arange(len(rows)) - (np.cumsum(of_row) - of_row)[rows]
        active = np.flatnonzero(of_row)
        line = np.searchsorted(active, rows)
        width = count + int(of_row.max())
        values = np.full((len(active), width), -np.inf, np.float32)
        positions = np.full((len(active), width), -1, np.int64)
        values[:, :count], positions[:, :count] = self.cosines[active], self.positions[active]
        values[line, count + within], positions[line, count + within] = cosines[rows, columns], start + columns
        best = np.argsort(-values, axis=1, kind="stable")[:, :count]
        self.cosines[active] = np.take_along_axis(values, best, 1)
        self.positions[active] = np.take_along_axis(positions, best, 1)


def exactly_ordered(directions: Values, positions: Positions, gallery: Gallery) -> tuple[Values, Positions]:
    """Returns exact cosines with the vectors at `[q, k]` positions, descending, and the positions; NaN for -1, last."""
    present = positions >= 0
    cosines = np.full(positions.shape, np.nan)
    for row in range(len(directions)):
        cosines[row, present[row]] = gallery.cosines(directions[row], positions[row, present[row]])
        if row % 16 == 0:  # pages around each of them were read, too
            release_memory(gallery.vectors, len(gallery))
    # By cosine, those without last, then by position: ties of rounding are ties.
    keys = np.where(present, np.round(cosines, 12), -np.inf)
    order = np.lexsort((positions, -keys), axis=1)
    return np.take_along_axis(cosines, order, 1), np.take_along_axis(positions, order, 1)
