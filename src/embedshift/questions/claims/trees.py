"""Ward trees of the nine augmentations, and the conditions that claims set for a tree."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import squareform

from embedshift.arrays import Values
from embedshift.augmentations.paper import PAPER
from embedshift.questions.claims.evidence import distance
from embedshift.statistics.clusters import linkage_matrix, threshold

Holding = NDArray[np.bool_]

NAMES = tuple(PAPER)
TREES = 1_000
DISTANCES = tuple(distance(*pair) for pair in itertools.combinations(NAMES, 2))


@dataclass(frozen=True)
class Trees:
    """Trees of the nine augmentations, in the paper's order."""

    heights: Values
    cuts: Values

    def joined(self) -> Holding:
        """Which augmentations join at or below the cut, `[R, 9, 9]`; none joins itself."""
        return np.asarray(self.heights <= self.cuts[:, None, None])


def grow(distances: Values) -> Trees:
    """Makes trees from mean distances `[R, 36]`."""
    linkages = np.stack([linkage_matrix(squareform(row)) for row in distances])
    return Trees(_joining_heights(linkages), np.array([threshold(each) for each in linkages]))


def _joining_heights(trees: Values) -> Values:
    """Converts linkage matrices `[R, A - 1, 4]` to heights at which two leaves join, `[R, A, A]`, diagonal infinite."""
    count, leaves = len(trees), trees.shape[1] + 1
    heights = np.where(np.eye(leaves, dtype=bool), np.inf, np.zeros((count, 1, 1)))
    inside = np.zeros((count, 2 * leaves - 1, leaves), bool)  # of every cluster, the leaves
    inside[:, :leaves] = np.eye(leaves, dtype=bool)
    for step in range(leaves - 1):
        one, other = (inside[np.arange(count), trees[:, step, side].astype(int)] for side in (0, 1))
        joined = one[:, :, None] & other[:, None, :]
        heights += (joined | joined.swapaxes(1, 2)) * trees[:, step, 2, None, None]
        inside[:, leaves + step] = one | other
    return heights


class Conditions(Protocol):
    """The conditions that a tree meets if a claim is right, one per column: `[R, C]`."""

    @property
    def words(self) -> str:
        """The conditions in plain words."""

    def __call__(self, trees: Trees, /) -> Holding:
        """Returns for each tree which conditions it meets."""


@dataclass(frozen=True)
class Alone:
    """One augmentation joins none of the others below the cut, and the others all join each other below it."""

    name: str

    @property
    def words(self) -> str:
        """The conditions in plain words."""
        return f"{self.name} joins no other augmentation below the cut, and all others join each other below it"

    def __call__(self, trees: Trees) -> Holding:
        """Returns one condition per other augmentation, then one per pair of the others."""
        joined, one = trees.joined(), NAMES.index(self.name)
        others = [place for place in range(len(NAMES)) if place != one]
        first, second = zip(*itertools.combinations(others, 2), strict=True)
        return np.hstack([~joined[:, one, others], joined[:, first, second]])


@dataclass(frozen=True)
class Branch:
    """Some augmentations form a branch inside a larger cluster, which lacks another augmentation."""

    names: Sequence[str]
    without: str

    @property
    def words(self) -> str:
        """The conditions in plain words."""
        return (
            f"the {len(self.names)} join each other before any other augmentation joins them, at least one more joins "
            f"below the cut, and {self.without} does not"
        )

    def __call__(self, trees: Trees) -> Holding:
        """Conditions: all join before any outsider (one each); one outsider joins below the cut, one does not."""
        inside = [NAMES.index(name) for name in self.names]
        outside = [place for place in range(len(NAMES)) if place not in inside]
        among = trees.heights[:, inside][:, :, inside]
        complete = np.where(np.isinf(among), 0.0, among).max(axis=(1, 2))
        reached = trees.heights[:, inside][:, :, outside].min(axis=1)
        larger = reached.min(axis=1) <= trees.cuts
        apart = reached[:, outside.index(NAMES.index(self.without))] > trees.cuts
        return np.column_stack([complete[:, None] < reached, larger, apart])
