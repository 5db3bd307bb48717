"""Linear maps that whiten embeddings, so that directions in which views of one image differ count less."""

from dataclasses import dataclass

import numpy as np

from embedshift.arrays import Floats, Values

# The part of the mean variance that is added to the variance of every direction.
RIDGE = 0.1


@dataclass(frozen=True)
class Whitening:
    """A map of embeddings: minus a mean, times a matrix, then of unit length.

    Args:
        mean: `[D]`, the mean of the originals, which are of unit length.
        matrix: `[D, D]`.
    """

    mean: Floats
    matrix: Floats

    def __call__(self, vectors: Floats) -> Floats:
        """Maps vectors of any length, `[n, D]`, to unit vectors, float32 `[n, D]`; a vector of length 0 stays one."""
        centred = unit(vectors) - self.mean
        return unit(centred @ self.matrix)


def unit(vectors: Floats | Values) -> Floats:
    """Returns vectors at length 1, `[n, D]`; a vector of length 0 stays one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def whitening(mean: Values, moment: Values, ridge: float = RIDGE) -> Whitening:
    """Returns the map with L Lᵀ = (W + ridge · tr(W) / D · I)⁻¹ for the second moment W of shifts, or of originals.

    Source: learned whitening, Mikolajczyk and Matas 2007; Radenović, Tolias and Chum 2018, section 3.3.

    Args:
        mean: `[D]`, subtracted from unit vectors.
        moment: `[D, D]`, the mean of d dᵀ over shifts d (unit vectors, view minus original), or over centred originals.
        ridge: A part of the mean variance, added to that of every direction.
    """
    variances, directions = np.linalg.eigh(moment)
    added = ridge * float(np.trace(moment)) / len(moment)
    matrix = (directions / np.sqrt(np.maximum(variances, 0.0) + added)) @ directions.T
    return Whitening(mean.astype(np.float32), matrix.astype(np.float32))
