"""Moments of the embeddings of a study, read as a stream: what maps that whiten embeddings are fitted to."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from embedshift.arrays import Floats, Values
from embedshift.augmentations import ORIGINAL
from embedshift.statistics.layout import blocks, layout
from embedshift.statistics.whitening import Whitening, unit, whitening
from embedshift.store.reader import Reader

# The longest vectors that maps are fitted to: every matrix of their products takes half a gigabyte.
MOST_DIM = 2**13


@dataclass(frozen=True, eq=False)
class ShiftMoments:
    """Sums over unit vectors of length D; those of two studies, or of two parts of one, can be added.

    Args:
        originals: Number of originals.
        total: Their sum, `[D]`.
        products: The sum of x xᵀ over them, `[D, D]`.
        shifts: Number of shifts: of views that are not missing.
        shift_products: The sum of d dᵀ over shifts d, view minus original, `[D, D]`.
    """

    originals: int
    total: Values
    products: Values
    shifts: int
    shift_products: Values

    def __add__(self, other: "ShiftMoments") -> "ShiftMoments":
        return ShiftMoments(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def __sub__(self, other: "ShiftMoments") -> "ShiftMoments":
        return ShiftMoments(*(getattr(self, name) - getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def mean(self) -> Values:
        """The mean of the originals, `[D]`."""
        return self.total / max(self.originals, 1)

    def centred(self) -> Whitening:
        return whitening(self.mean, np.zeros_like(self.products))

    def by_originals(self) -> Whitening:
        return whitening(self.mean, self.products / max(self.originals, 1) - np.outer(self.mean, self.mean))

    def by_shifts(self) -> Whitening:
        return whitening(self.mean, self.shift_products / max(self.shifts, 1))


def moments_of(originals: Floats, views: Iterable[Floats] = ()) -> ShiftMoments:
    """Returns the moments of originals `[n, D]`, and of views of each `[n, D]`, that have a direction."""
    base = unit(np.nan_to_num(originals))
    moved, there = np.zeros((base.shape[1],) * 2), 0
    is_base = base.any(axis=1)
    for view in views:
        ends = unit(np.nan_to_num(view))
        is_there = is_base & ends.any(axis=1)
        shifts = (ends - base)[is_there]
        moved, there = moved + shifts.T @ shifts, there + int(is_there.sum())
    kept = base[is_base]
    return ShiftMoments(len(kept), kept.sum(axis=0, dtype=np.float64), (kept.T @ kept).astype(np.float64), there, moved)


def shift_moments(reader: Reader) -> ShiftMoments | None:
    """Returns the moments of a study's originals and of its shifts, read as a stream; None if vectors are too long."""
    rows, dim = reader.rows(), reader.info.encoder.dim
    if dim > MOST_DIM:
        return None
    order = layout(rows)
    original, views = order.views.index(ORIGINAL), range(len(order.views))
    total = moments_of(np.zeros((0, dim), np.float32))
    for block in blocks(rows.select("embedding"), len(order.views)):
        vectors = block["embedding"].to_numpy().reshape(-1, len(order.views), dim)
        total += moments_of(vectors[:, original], (vectors[:, view] for view in views if view != original))
    return total


def shift_map(reader: Reader) -> Whitening | None:
    """Returns the map that whitens a study's shifts; None if no view moves, or vectors are too long."""
    moments = shift_moments(reader)
    return moments.by_shifts() if moments is not None and moments.shift_products.any() else None
