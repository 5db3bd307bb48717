"""A search among the images of one held-out fold: ranks, neighbours, and what all others owe to each image."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import GroupNumbers, Values
from embedshift.statistics.judged import pseudovalues
from embedshift.statistics.retrieval import TIE


class Fold:
    """The images of a fold, searched by their own views; images of a query's own group are no results.

    Args:
        groups: The group of each image, `[m]`.
        there: Whether its original has a vector, bool `[m]`.
        neighbours: How many nearest images count.
    """

    def __init__(self, groups: GroupNumbers, there: NDArray[np.bool_], neighbours: int) -> None:
        self.there, self.neighbours = there, neighbours
        _, self.groups, self.sizes = np.unique(groups, return_inverse=True, return_counts=True)
        self.mates = np.equal.outer(self.groups, self.groups)
        self.none = self.mates | ~there
        np.fill_diagonal(self.mates, val=False)

    def of_ranks(self, scores: Values, own: Values, number: Callable[[Values], Values]) -> tuple[Values, Values]:
        """Returns a number of the rank that each query's score `own` has among those of others, `[m, m]`.

        And for each image what all other queries lose to it, as the mean over its group; both `[m]`.
        """
        better = (np.where(self.none, -np.inf, scores) >= own[:, None] - TIE).astype(np.float32)
        rank = 1.0 + better.sum(axis=1)
        without = rank[:, None] - better @ np.eye(len(self.sizes), dtype=np.float32)[self.groups]
        there = ~np.isnan(own)
        rise = (number(without[there]) - 1.0 * number(rank[there])[:, None]).sum(axis=0)
        return np.where(there, number(rank), np.nan), (rise / self.sizes)[self.groups]

    def nearest(self, scores: Values) -> NDArray[np.bool_]:
        """Returns whether an image is among the nearest of its row; ties of the last count too."""
        others = np.where(self.none, -np.inf, scores)
        least = np.partition(others, -self.neighbours, axis=1)[:, -self.neighbours, None]
        return (others >= least) & ~np.isneginf(others)

    def kept(self, near: NDArray[np.bool_], scores: Values) -> Values:
        """Returns the part of the images `near`, bool `[m, m]`, that are among the nearest by other scores, `[m]`."""
        return np.asarray((near & self.nearest(scores)).sum(axis=1) / np.maximum(1, near.sum(axis=1)))


def with_pseudovalues(values: Values, lost: Values) -> Values:
    """Returns numbers and their pseudovalues, `[2, n, draws]`."""
    return np.stack([values, pseudovalues(values, lost)])
