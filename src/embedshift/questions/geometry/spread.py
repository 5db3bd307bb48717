"""The spread of a set of embeddings: uniformity, effective rank, nearest neighbour. Pure NumPy and SciPy."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import GroupNumbers, Values
from embedshift.statistics.intervals import LEAST_IMAGES, jackknife_interval
from embedshift.statistics.vectors import normalised

# Of the jackknife.
PARTS = 8


def uniformity(vectors: ArrayLike) -> float:
    """How evenly directions are spread over the sphere (Wang and Isola 2020), from all pairs."""
    directions = _normalised(vectors)
    if len(directions) < 2:
        return float("nan")
    first, second = np.triu_indices(len(directions), k=1)
    squares = 2 - 2 * np.clip(directions @ directions.T, -1.0, 1.0)[first, second]
    return float(np.log(np.exp(-2 * squares).mean()))


def effective_rank(vectors: ArrayLike) -> float:
    """How many directions a set of vectors fills (Roy and Vetterli 2007; RankMe, Garrido et al. 2023)."""
    values = np.asarray(vectors, np.float64)
    small = values.T @ values if values.shape[0] > values.shape[1] else values @ values.T
    squares = np.linalg.eigvalsh(small)
    # Squares below the rounding of the largest are singular values of 0.
    squares = squares[squares > len(squares) * np.finfo(np.float64).eps * squares.max(initial=0.0)]
    if not len(squares):
        return float("nan")
    fractions = np.sqrt(squares) / np.sqrt(squares).sum()
    return float(np.exp(-(fractions * np.log(fractions)).sum()))


def nearest_cosine(vectors: ArrayLike, groups: GroupNumbers | None = None) -> float:
    """Mean over vectors `[n, D]` of the cosine with the nearest vector of another group; NaN if there is none."""
    directions = normalised(vectors)
    present = np.isfinite(directions).all(axis=-1)
    directions, numbers = directions[present], _numbers(np.asarray(present), groups)
    if len(np.unique(numbers)) < 2:
        return float("nan")
    cosines = np.clip(directions @ directions.T, -1.0, 1.0)
    cosines[numbers[:, None] == numbers] = -np.inf
    return float(cosines.max(axis=1).mean())


def jackknife(
    statistic: Callable[[Values], float], vectors: Values, groups: GroupNumbers | None = None
) -> tuple[float, float]:
    """Returns a statistic's 95 % interval by the jackknife over `PARTS` parts of the images, with Student's t.

    Images of one group are in one part.
    """
    present = np.isfinite(normalised(vectors)).all(axis=-1)
    vectors, numbers = vectors[present], _numbers(np.asarray(present), groups)
    if len(np.unique(numbers)) < LEAST_IMAGES:
        return float("nan"), float("nan")
    is_kept = [numbers % PARTS != part for part in range(PARTS)]
    # A rank grows with the number of images, so that unequal parts must not count alike.
    ratios = np.array([kept.sum() / (~kept).sum() for kept in is_kept])
    without = (np.asarray(statistic(vectors[kept])) for kept in is_kept)
    low, high = jackknife_interval(np.asarray(statistic(vectors)), without, ratios=ratios)
    return float(low), float(high)


def _numbers(present: NDArray[np.bool_], groups: GroupNumbers | None) -> GroupNumbers:
    if groups is None:
        return np.arange(present.sum())
    return np.unique(groups[: len(present)][present], return_inverse=True)[1]


def _normalised(vectors: ArrayLike) -> Values:
    directions = normalised(vectors)
    return directions[np.isfinite(directions).all(axis=-1)]
