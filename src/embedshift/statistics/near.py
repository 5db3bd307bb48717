"""Near-duplicates: images that are closer to each other than an image is to its views under the mildest change."""

from collections.abc import Iterable

import numpy as np
import scipy
from numpy.typing import ArrayLike

from embedshift.arrays import Units
from embedshift.statistics.vectors import unit

# Relative distances: images this near are near-duplicates even if the mildest change is milder, and those that are
# not as near as the second are none even if it is stronger.
_NEAR, _SMALL = 0.05, 0.1
# A cosine closer to 1 is that of an unchanged embedding.
_UNMOVED = 1e-9
_BLOCK = 512


def near_cosine(medians: Iterable[float | None], baseline: float) -> float:
    """Returns the cosine from which two images are near-duplicates, from each augmentation's median cosine."""
    mildest = max((median for median in medians if median is not None and median < 1 - _UNMOVED), default=1.0)
    nearest, furthest = (1 - distance * (1 - baseline) for distance in (_NEAR, _SMALL))
    return max(min(mildest, nearest), furthest)


def mean_cosine(vectors: ArrayLike) -> float:
    """Returns the mean cosine of all pairs of vectors; 0 for fewer than two."""
    units = np.nan_to_num(unit(vectors))
    count = len(units)
    return float((np.square(units.sum(axis=0)).sum() - count) / max(1, count * (count - 1)))


def components(vectors: ArrayLike, least: float, groups: Units | None = None) -> Units:
    """Returns the components of vectors `[n, D]`, or of groups, in which a cosine of `least` connects two."""
    units = np.nan_to_num(unit(vectors)).astype(np.float32)
    labels = np.arange(len(units)) if groups is None else groups
    for start in range(0, len(units), _BLOCK):
        rows, columns = np.nonzero(units[start : start + _BLOCK] @ units[start:].T >= np.float32(least))
        ends = labels[start + rows], labels[start + columns]
        graph = scipy.sparse.coo_array((np.ones(len(rows)), ends), shape=(len(units), len(units)))
        labels = scipy.sparse.csgraph.connected_components(graph, directed=False)[1][labels]
    return np.asarray(labels, np.intp)
