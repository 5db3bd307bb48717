"""Clusters of augmentations: distances → linkage, clusters, and the lines of the dendrogram."""

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import scipy
from numpy.typing import ArrayLike

from embedshift.arrays import Values
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.statistics.vectors import MOST_AUGMENTATIONS

log = logging.getLogger(__name__)

Linkage = Literal["ward", "average", "complete", "single"]

# The authors' scripts cut the tree at this fraction of its height.
CUT = 0.7

# What tables of all pairs need, as text.
FEW = f"at most {MOST_AUGMENTATIONS} augmentations"


def compares_all(augmentations: Sequence[str]) -> bool:
    """Returns whether tables, trees and figures of all pairs are made; if not, logs one line."""
    if len(augmentations) > MOST_AUGMENTATIONS:
        _left_out(len(augmentations))
    return len(augmentations) <= MOST_AUGMENTATIONS


@functools.cache
def _left_out(count: int) -> None:
    words = "%d augmentations are too many for the tables, trees and figures of all pairs (at most %d)"
    log.warning(words, count, MOST_AUGMENTATIONS)


def linkage_matrix(distances: ArrayLike, linkage: str = "ward") -> Values:
    matrix = np.asarray(distances, np.float64)
    if np.isnan(matrix).any():
        raise EmbedshiftError("clusters: no tree, because an embedding is zero and a distance undefined")
    condensed = scipy.spatial.distance.squareform(matrix, checks=False)
    return np.asarray(scipy.cluster.hierarchy.linkage(condensed, method=linkage))


def threshold(linkage: Values) -> float:
    return float(CUT * linkage[:, 2].max())


def clusters_of(distances: ArrayLike, augmentations: Sequence[str], linkage: str = "ward") -> pl.DataFrame:
    names = list(augmentations)
    if len(names) == 1:
        return pl.DataFrame({"augmentation": names, "cluster": [1], "leaf": [0]})
    tree = linkage_matrix(distances, linkage)
    labels = scipy.cluster.hierarchy.fcluster(tree, threshold(tree), criterion="distance")
    number = {label: count for count, label in enumerate(dict.fromkeys(labels.tolist()), start=1)}
    order = scipy.cluster.hierarchy.leaves_list(tree).tolist()
    return pl.DataFrame(
        {
            "augmentation": names,
            "cluster": [number[label] for label in labels.tolist()],
            "leaf": [order.index(index) for index in range(len(names))],
        }
    )


def distances_of_means(means: ArrayLike, metric: str = "euclidean") -> Values:
    distance = scipy.spatial.distance  # SciPy imports its parts when they are first used
    try:
        return np.asarray(distance.squareform(distance.pdist(np.asarray(means, np.float64), metric=metric)))
    except ValueError as error:
        raise UsageError(f"pdist metric {metric!r}: {error}") from error


@dataclass(frozen=True)
class Branches:
    positions: Values
    heights: Values
    leaves: list[int]


def branches(linkage: Values) -> Branches:
    drawn = scipy.cluster.hierarchy.dendrogram(linkage, no_plot=True)
    # scipy puts the leaves at 5, 15, 25 ...
    return Branches((np.array(drawn["icoord"]) - 5) / 10, np.array(drawn["dcoord"]), drawn["leaves"])
