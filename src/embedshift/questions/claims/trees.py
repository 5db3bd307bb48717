"""Ward trees of the nine augmentations."""

import itertools
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from embedshift.arrays import Values
from embedshift.augmentations.paper import PAPER
from embedshift.questions.claims.evidence import distance
from embedshift.statistics.clusters import threshold

Flags = NDArray[np.bool_]

NAMES = tuple(PAPER)
TREES = 1_000
DISTANCES = tuple(distance(*pair) for pair in itertools.combinations(NAMES, 2))


@dataclass(frozen=True)
class Trees:
    """Trees of the nine augmentations, in the paper's order."""

    heights: Values
    cuts: Values

    def joined(self) -> Flags:
        """Which augmentations join at or below the cut, `[R, 9, 9]`; none joins itself."""
        return np.asarray(self.heights <= self.cuts[:, None, None])


def grow(distances: Values) -> Trees:
    """Makes trees from mean distances `[R, 36]`."""
    linkages = np.stack([scipy.cluster.hierarchy.linkage(row, method="ward") for row in distances])
    return Trees(_joining_heights(linkages), np.array([threshold(linkage) for linkage in linkages]))


def _joining_heights(trees: Values) -> Values:
    """Converts linkage matrices `[R, A - 1, 4]` to heights at which two leaves join, `[R, A, A]`, diagonal infinite."""
    count, leaves = len(trees), trees.shape[1] + 1
    heights = np.where(np.eye(leaves, dtype=bool), np.inf, np.zeros((count, 1, 1)))
    inside = np.zeros((count, 2 * leaves - 1, leaves), bool)  # the leaves of every cluster
    inside[:, :leaves] = np.eye(leaves, dtype=bool)
    for step in range(leaves - 1):
        left, right = (inside[np.arange(count), trees[:, step, side].astype(int)] for side in (0, 1))
        joined = left[:, :, None] & right[:, None, :]
        heights += (joined | joined.swapaxes(1, 2)) * trees[:, step, 2, None, None]
        inside[:, leaves + step] = left | right
    return heights
