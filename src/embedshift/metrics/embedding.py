"""Metrics on embeddings: how far the encoder's vector moves."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.metrics.base import metric

Values = NDArray[np.float64]


@metric("cosine similarity", "embedding", no_change=1.0, low=-1.0, high=1.0, higher_is_better=True)
def cosine_similarity(u: ArrayLike, v: ArrayLike) -> Values:
    r"""Cosine of the angle between two embeddings (the paper's equation 4).

    .. math:: \mathrm{sim}(u, v) = \frac{u \cdot v}{\|u\| \, \|v\|}

    Args:
        u: Original embeddings `[..., D]`, any float dtype; computed in float64.
        v: Embeddings of the views `[..., D]`.

    Returns:
        float64 `[...]` in [-1, 1]; 1 = no change. NaN where a norm is zero: a direction that does not exist is never
        reported as 0.

    Raises:
        ValueError: when the embeddings differ in length.

    Example:
        >>> cosine_similarity([1.0, 0.0], [[2.0, 0.0], [0.0, 3.0]]).tolist()
        [1.0, 0.0]
    """
    a, b = _vectors(u, v)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Each vector by its own norm first: a product of norms would overflow or vanish for extreme vectors.
        a = a / np.linalg.norm(a, axis=-1, keepdims=True)
        b = b / np.linalg.norm(b, axis=-1, keepdims=True)
        return np.asarray(np.clip(np.sum(a * b, axis=-1), -1.0, 1.0))


@metric("L2 distance", "embedding", no_change=0.0, low=0.0, high=np.inf, higher_is_better=False)
def l2_distance(u: ArrayLike, v: ArrayLike) -> Values:
    r"""Euclidean distance between two raw embeddings (the paper's equation 5).

    .. math:: d(u, v) = \|u - v\|_2

    Args:
        u: Original embeddings `[..., D]`, not normalised.
        v: Embeddings of the views `[..., D]`.

    Returns:
        float64 `[...]`, 0 or more, in the encoder's own units; 0 = no change. Not comparable between encoders.

    Raises:
        ValueError: when the embeddings differ in length.

    Example:
        >>> l2_distance([0.0, 0.0], [3.0, 4.0]).item()
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
    vectors = np.asarray(views, np.float64)
    first, second = np.triu_indices(vectors.shape[-2], k=1)
    return 1.0 - np.asarray(cosine_similarity(vectors[..., first, :], vectors[..., second, :]))


def _vectors(u: ArrayLike, v: ArrayLike) -> tuple[Values, Values]:
    """Both in float64; ValueError where numpy would stretch a vector of one number to the other's length."""
    a, b = np.asarray(u, np.float64), np.asarray(v, np.float64)
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-1]:
        raise ValueError(f"embeddings of one length are compared, not {a.shape} and {b.shape}")
    return a, b
