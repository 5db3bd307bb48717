"""How two encoders differ that are equal: random halves of one encoder's dimensions, compared as two encoders are."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Floats, Units, Values
from embedshift.statistics.whitening import unit

ROTATIONS = 30


def halves(vectors: Floats, *, seed: int, rotations: int = ROTATIONS) -> Iterator[tuple[Floats, Floats]]:
    """Yields halves of vectors `[m, D]` as unit vectors `[m, D // 2]`, each time in other random directions."""
    rng, dim = np.random.default_rng(seed), vectors.shape[-1]
    for _ in range(rotations):
        rotation, triangle = np.linalg.qr(rng.normal(size=(dim, dim)))
        turned = vectors @ (rotation * np.sign(np.diag(triangle))).astype(np.float32)
        yield unit(turned[:, : dim // 2]), unit(turned[:, dim // 2 : dim // 2 * 2])


def view_distances(originals: Floats, views: Floats) -> Values:
    """Returns 1 - cosine of the originals `[n, D]` with their views `[n, V, D]`, all of unit length: `[n, V]`."""
    # Of equal vectors exactly 0, and of near ones as precise as they are.
    return np.asarray(np.square(views - originals[:, None]).sum(axis=-1, dtype=np.float64) / 2)


def finds_original(originals: Floats, views: Floats, units: Units | None = None) -> NDArray[np.bool_]:
    """Returns whether each view's nearest original is its own, without the others of its group, `[n, V]`."""
    groups = np.arange(len(originals)) if units is None else units
    same_group = groups[:, None] == groups
    found = np.empty(views.shape[:2], np.bool_)
    for position in range(views.shape[1]):
        cosines = views[:, position] @ originals.T
        own = cosines.diagonal().copy()
        cosines[same_group] = -np.inf
        found[:, position] = cosines.max(axis=1) < own - 1e-6  # less is a tie of float32
    return found
