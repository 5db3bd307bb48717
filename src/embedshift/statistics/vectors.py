"""Embeddings against each other: angles, lengths, directions. Pure NumPy, batch first."""

import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Values

# Above so many augmentations there are more pairs than a person reads, and nothing of all pairs is stored or made.
MOST_AUGMENTATIONS = 20


def cosine(u: ArrayLike, v: ArrayLike) -> Values:
    """Cosine of the angle between vectors.

    Args:
        u: `[..., D]`, any float dtype; computed in float64.
        v: `[..., D]`.

    Returns:
        float64 `[...]` in [-1, 1]; NaN where a norm is zero: a direction that does not exist is never reported as 0.

    Raises:
        ValueError: when the vectors differ in length.

    Example:
        >>> cosine([1.0, 0.0], [[2.0, 0.0], [0.0, 3.0]]).tolist()
        [1.0, 0.0]
    """
    a, b = _vectors(u, v)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Each vector by its own norm first: a product of norms would overflow or vanish for extreme vectors.
        a = a / np.linalg.norm(a, axis=-1, keepdims=True)
        b = b / np.linalg.norm(b, axis=-1, keepdims=True)
        return np.asarray(np.clip(np.sum(a * b, axis=-1), -1.0, 1.0))


def distance(u: ArrayLike, v: ArrayLike) -> Values:
    """Euclidean distance between vectors `[..., D]`, float64 `[...]`; ValueError when they differ in length.

    Example:
        >>> distance([0.0, 0.0], [3.0, 4.0]).item()
        5.0
    """
    a, b = _vectors(u, v)
    return np.asarray(np.linalg.norm(a - b, axis=-1))


def pairwise_cosine_distances(views: ArrayLike) -> Values:
    """Cosine distances between all pairs of views of one image.

    Args:
        views: Embeddings `[..., A, D]`, one per augmentation in suite order.

    Returns:
        float64 `[..., A * (A - 1) / 2]`: `1 - cos` of the upper triangle, row by row, as `scipy.spatial.distance.pdist`
        orders it. In [0, 2]; NaN where a norm is zero.

    Example:
        >>> pairwise_cosine_distances([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]).tolist()
        [1.0, 2.0, 1.0]
    """
    vectors = unit(views)  # before pairs are made, of which each view is in many
    first, second = _pairs(vectors.shape[-2])
    return np.asarray(1.0 - np.clip(np.sum(vectors[..., first, :] * vectors[..., second, :], axis=-1), -1.0, 1.0))


def direction(end: ArrayLike, start: ArrayLike) -> Values:
    """From one vector to another, both at length 1: float64 `[..., D]`; NaN where a norm is zero.

    Example:
        >>> direction([0.0, 2.0], [3.0, 0.0]).tolist()
        [-1.0, 1.0]
    """
    return unit(end) - unit(start)


def unit(vectors: ArrayLike) -> Values:
    """Vectors `[..., D]` at length 1, float64; NaN where a norm is zero.

    Example:
        >>> unit([3.0, 4.0]).tolist()
        [0.6, 0.8]
    """
    values = np.asarray(vectors, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True))


@functools.cache
def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(count, k=1)


def _vectors(u: ArrayLike, v: ArrayLike) -> tuple[Values, Values]:
    """Both in float64; ValueError where numpy would stretch a vector of one number to the other's length."""
    a, b = np.asarray(u, np.float64), np.asarray(v, np.float64)
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-1]:
        raise ValueError(f"embeddings of one length are compared, not {a.shape} and {b.shape}")
    return a, b
