"""Comparisons of embeddings: angles, distances, directions, random halves. Pure NumPy, batch first."""

import functools
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Floats, GroupNumbers, Values

# Above this number of augmentations there are too many pairs to read, so that nothing over all pairs is made.
MOST_AUGMENTATIONS = 20
# A shift of unit vectors whose square is smaller is rounding: the view did not move.
STILL = 1e-12
ROTATIONS = 30


def cosine(u: ArrayLike, v: ArrayLike) -> Values:
    a, b = _vectors(u, v)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Each vector by its own norm first: a product of norms would overflow or vanish for extreme vectors.
        a = a / np.linalg.norm(a, axis=-1, keepdims=True)
        b = b / np.linalg.norm(b, axis=-1, keepdims=True)
        return np.asarray(np.clip(np.sum(a * b, axis=-1), -1.0, 1.0))


def distance(u: ArrayLike, v: ArrayLike) -> Values:
    a, b = _vectors(u, v)
    return np.asarray(np.linalg.norm(a - b, axis=-1))


def pairwise_cosine_distances(views: ArrayLike) -> Values:
    vectors = normalised(views)  # before pairs are made, of which each view is in many
    first, second = _pairs(vectors.shape[-2])
    return np.asarray(1.0 - np.clip(np.sum(vectors[..., first, :] * vectors[..., second, :], axis=-1), -1.0, 1.0))


def direction(end: ArrayLike, start: ArrayLike) -> Values:
    return normalised(end) - normalised(start)


def normalised(vectors: ArrayLike) -> Values:
    values = np.asarray(vectors, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True))


def normalised_float32(vectors: Floats | Values) -> Floats:
    """Returns vectors at length 1, `[..., D]`; one of length 0 stays so, and one that is not finite becomes NaN."""
    # Scaled first: squares of float32 are infinite above 1e19, and 0 below 1e-23.
    largest = np.abs(vectors).max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        scaled = vectors / np.where(largest == 0, 1, largest)
        lengths = np.linalg.norm(scaled, axis=-1, keepdims=True)
        return (scaled / np.where(lengths == 0, 1, lengths)).astype(np.float32, copy=False)


@functools.cache
def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(count, k=1)


def _vectors(u: ArrayLike, v: ArrayLike) -> tuple[Values, Values]:
    """Converts both to float64; raises ValueError where NumPy would broadcast a vector of a single number."""
    a, b = np.asarray(u, np.float64), np.asarray(v, np.float64)
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-1]:
        raise ValueError(f"embeddings of one length are compared, not {a.shape} and {b.shape}")
    return a, b


def halves(vectors: Floats, *, seed: int, rotations: int = ROTATIONS) -> Iterator[tuple[Floats, Floats]]:
    """Yields halves of vectors `[m, D]` as unit vectors `[m, D // 2]`, each time in other random directions."""
    rng, dim = np.random.default_rng(seed), vectors.shape[-1]
    for _ in range(rotations):
        rotation, triangle = np.linalg.qr(rng.normal(size=(dim, dim)))
        turned = vectors @ (rotation * np.sign(np.diag(triangle))).astype(np.float32)
        yield normalised_float32(turned[:, : dim // 2]), normalised_float32(turned[:, dim // 2 : dim // 2 * 2])


def view_distances(originals: Floats, views: Floats) -> Values:
    """Returns 1 - cosine of the originals `[n, D]` with their views `[n, V, D]`, all of unit length: `[n, V]`."""
    # Of equal vectors exactly 0, and of near ones as precise as they are.
    return np.asarray(np.square(views - originals[:, None]).sum(axis=-1, dtype=np.float64) / 2)


def ranks_of_originals(originals: Floats, views: Floats, groups: GroupNumbers | None = None) -> NDArray[np.intp]:
    """Returns the rank of each view's own original among all, without the others of its group, `[n, V]`."""
    groups = np.arange(len(originals)) if groups is None else groups
    same_group = groups[:, None] == groups
    ranks = np.empty(views.shape[:2], np.intp)
    for position in range(views.shape[1]):
        cosines = views[:, position] @ originals.T
        own = cosines.diagonal()[:, None] - 1e-6  # less is a tie of float32
        ranks[:, position] = 1 + (~(cosines < own) & ~same_group).sum(axis=1)
    return ranks


def finds_original(originals: Floats, views: Floats, groups: GroupNumbers | None = None) -> NDArray[np.bool_]:
    """Returns whether each view's nearest original is its own, without the others of its group, `[n, V]`."""
    return np.equal(ranks_of_originals(originals, views, groups), 1)
