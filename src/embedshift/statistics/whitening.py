"""Linear maps that whiten embeddings, so that directions in which views of one image differ count less.

They are fitted to moments of the embeddings of a study, which is read as a stream.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy

from embedshift.arrays import Floats, Values
from embedshift.augmentations import ORIGINAL
from embedshift.statistics.layout import ImageRows
from embedshift.statistics.linear_map import LinearMap, LinearSums
from embedshift.statistics.vectors import normalised_float32

# The part of the mean variance that is added to the variance of every direction.
RIDGE = 0.1
# The longest vectors that maps are fitted to: every matrix of their products takes half a gigabyte.
MOST_DIM = 2**13


class Whitening(LinearMap):
    """A linear map that whitens; `Whitening.load` also reads one between encoders, which is called in the same way.

    Example:
        >>> Whitening(np.zeros(2, np.float32), np.eye(2, dtype=np.float32))([[3.0, 4.0]]).round(2).tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """


def whitening(mean: Values, moment: Values, ridge: float = RIDGE) -> Whitening:
    """Returns the map with L Lᵀ = (W + ridge · tr(W) / D · I)⁻¹ for the second moment W of shifts, or of originals.

    W is the mean of d dᵀ over shifts d (unit vectors, view minus original), or over centred originals. Where it is 0
    there is no direction to count less, and L is the identity.

    Source: learned whitening, Mikolajczyk and Matas 2007; Radenović, Tolias and Chum 2018, section 3.3.
    """
    size, trace = len(moment), float(np.trace(moment))
    matrix = np.eye(size)
    if trace > 0:
        # Scaled to a mean variance of 1, which cosines do not depend on.
        factor = np.linalg.cholesky(moment * (size / trace) + ridge * matrix)
        matrix = scipy.linalg.solve_triangular(factor, matrix, lower=True).T
    return Whitening(mean.astype(np.float32), matrix.astype(np.float32))


@dataclass(frozen=True, eq=False)
class ShiftMoments(LinearSums):
    """Sums over unit vectors of length D; those of two studies, or of two parts of one, can be added."""

    originals: int
    total: Values
    # Of x xᵀ over originals x, and of d dᵀ over shifts d, view minus original, of views that are not missing: `[D, D]`.
    products: Values
    shifts: int
    shift_products: Values

    @property
    def mean(self) -> Values:
        return self.total / max(self.originals, 1)

    def centred(self) -> Whitening:
        return whitening(self.mean, np.zeros_like(self.products))

    def by_originals(self) -> Whitening:
        return whitening(self.mean, self.products / max(self.originals, 1) - np.outer(self.mean, self.mean))

    def by_shifts(self) -> Whitening:
        return whitening(self.mean, self.shift_products / max(self.shifts, 1))


def moments_of(originals: Floats, views: Iterable[Floats] = ()) -> ShiftMoments:
    base = normalised_float32(np.nan_to_num(originals))
    moved, there = np.zeros((base.shape[1],) * 2), 0
    is_base = base.any(axis=1)
    for view in views:
        ends = normalised_float32(np.nan_to_num(view))
        is_there = is_base & ends.any(axis=1)
        shifts = (ends - base)[is_there]
        moved, there = moved + shifts.T @ shifts, there + int(is_there.sum())
    kept = base[is_base]
    return ShiftMoments(len(kept), kept.sum(axis=0, dtype=np.float64), (kept.T @ kept).astype(np.float64), there, moved)


def shift_moments(study: ImageRows) -> ShiftMoments | None:
    """Returns the moments of a study's originals and of its shifts, read as a stream; None if vectors are too long."""
    kind, order = study.columns["embedding"], study.layout
    assert isinstance(kind, pl.Array)
    if kind.size > MOST_DIM:
        return None
    total = moments_of(np.zeros((0, kind.size), np.float32))
    original, views = order.views.index(ORIGINAL), range(len(order.views))
    for vectors in study.vectors():
        total += moments_of(vectors[:, original], (vectors[:, view] for view in views if view != original))
    return total


def shift_map(study: ImageRows) -> Whitening | None:
    moments = shift_moments(study)
    return moments.by_shifts() if moments is not None and moments.shift_products.any() else None
