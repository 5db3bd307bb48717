"""Comparisons of embeddings: angles, distances, directions. Pure NumPy, batch first."""

import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Values

# Above this number of augmentations there are too many pairs to read, so that nothing over all pairs is made.
MOST_AUGMENTATIONS = 20
# A shift of unit vectors whose square is smaller is rounding: the view did not move.
STILL = 1e-12


def cosine(u: ArrayLike, v: ArrayLike) -> Values:
    a, b = _vectors(u, v)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Each vector by its own norm first: a product of norms would overflow or vanish for extreme vectors.
        a = a / np.linalg.norm(a, axis=-1, keepdims=True)
        b = b / np.linalg.norm(b, axis=-1, keepdims=True)
        return np.asarray(np.clip(np.sum(a * b, axis=-1), -1.0, 1.0))


def distance(u: ArrayLike, v: ArrayLike) -> Values:
    """Returns the Euclidean distance between vectors `[..., D]`, float64 `[...]`."""
    a, b = _vectors(u, v)
    return np.asarray(np.linalg.norm(a - b, axis=-1))


def pairwise_cosine_distances(views: ArrayLike) -> Values:
    vectors = unit(views)  # before pairs are made, of which each view is in many
    first, second = _pairs(vectors.shape[-2])
    return np.asarray(1.0 - np.clip(np.sum(vectors[..., first, :] * vectors[..., second, :], axis=-1), -1.0, 1.0))


def direction(end: ArrayLike, start: ArrayLike) -> Values:
    """Returns the difference of two unit vectors, from `start` to `end`: float64 `[..., D]`; NaN if a norm is zero."""
    return unit(end) - unit(start)


def unit(vectors: ArrayLike) -> Values:
    """Scales vectors `[..., D]` to length 1, float64; NaN if a norm is zero."""
    values = np.asarray(vectors, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True))


@functools.cache
def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(count, k=1)


def _vectors(u: ArrayLike, v: ArrayLike) -> tuple[Values, Values]:
    """Converts both to float64; raises ValueError where NumPy would broadcast a vector of a single number."""
    a, b = np.asarray(u, np.float64), np.asarray(v, np.float64)
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-1]:
        raise ValueError(f"embeddings of one length are compared, not {a.shape} and {b.shape}")
    return a, b
