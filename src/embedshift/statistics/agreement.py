"""Do two encoders see the same neighbours? Kept neighbours and linear CKA of the same images, by the jackknife."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Units, Values
from embedshift.statistics.intervals import LEAST_IMAGES, jackknife_interval
from embedshift.statistics.vectors import unit

NEIGHBOURS = 10
# Images whose pairs are compared.
COMPARED = 2_000

Positions = NDArray[np.int64]
# Value, and the value without each unit.
Jackknifed = tuple[float, Iterator[Values]]


def neighbours_kept(first: ArrayLike, second: ArrayLike, units: Units | None = None) -> Jackknifed:
    """Returns the mean fraction of an image's nearest 10 other images by cosine that are so in both sets `[n, D]`.

    Images of its own group are no neighbours. Of fewer than 21 images, the nearest half of the others count.

    Example:
        >>> angles = np.linspace(0.1, 3.0, 9) ** 2 / 4
        >>> circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        >>> neighbours_kept(circle, circle[:, ::-1])[0]
        1.0
    """
    own = np.arange(len(np.asarray(first))) if units is None else np.unique(units, return_inverse=True)[1]
    sizes = np.bincount(own)
    count = min(NEIGHBOURS, max(1, (len(own) - int(sizes.max())) // 2))
    lists = [_nearest(vectors, own, count + int(sizes.max())) for vectors in (first, second)]
    overlap = _overlap(*(nearest[:, :count] for nearest in lists)) / count

    def without_each() -> Iterator[Values]:
        total, units_of = overlap.sum(), [np.where(nearest >= 0, own[nearest], -1) for nearest in lists]
        for unit_number in range(len(sizes)):
            taken = [of == unit_number for of in units_of]
            changed = (taken[0][:, :count] | taken[1][:, :count]).any(axis=1) & (own != unit_number)
            kept = []
            for nearest, gone in zip(lists, taken, strict=True):
                order = np.argsort(gone[changed], axis=1, kind="stable")[:, :count]
                kept.append(np.take_along_axis(nearest[changed], order, axis=1))
            left = own == unit_number
            there = total - overlap[left].sum() - overlap[changed].sum() + _overlap(*kept).sum() / count
            yield np.asarray(there / (len(own) - left.sum()))

    return float(overlap.mean()), without_each()


def _nearest(vectors: ArrayLike, own: NDArray[np.intp], count: int) -> Positions:
    """Returns the positions of the nearest images outside each image's unit, nearest first; -1 if there are fewer."""
    units = np.nan_to_num(unit(vectors))
    cosines = np.round(units @ units.T, 12)  # equal vectors are ties, in order of position
    cosines[own[:, None] == own] = -np.inf
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return np.where(np.isneginf(np.take_along_axis(cosines, nearest, axis=1)), -1, nearest)


def _overlap(first: Positions, second: Positions) -> Values:
    """Returns how many positions both lists of each row have in common."""
    return np.asarray(((first[:, :, None] == second[:, None]) & (first >= 0)[:, :, None]).sum(axis=(1, 2)), np.float64)


def linear_cka(first: ArrayLike, second: ArrayLike, units: Units | None = None) -> Jackknifed:
    """Returns the linear CKA of two sets of vectors `[n, D]` (Kornblith 2019), by Song's unbiased HSIC (2012).

    It is 1 if the second are the first turned and scaled, and 0 on average if they are independent.

    Example:
        >>> vectors = np.random.default_rng(0).normal(size=(20, 3))
        >>> round(linear_cka(vectors, 2 * vectors[:, ::-1])[0], 9)
        1.0
    """
    grams = [_gram(vectors) for vectors in (first, second)]
    own = None if units is None else np.unique(units, return_inverse=True)[1]
    both, one, other = (_hsic(grams[a], grams[b], own) for a, b in ((0, 1), (0, 0), (1, 1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        full, *without = np.clip(both / np.sqrt(one * other), -1.0, 1.0)
    return float(full), iter(without)


def _gram(vectors: ArrayLike) -> Values:
    """Returns the inner products of vectors around their mean, 0 of a vector with itself."""
    values = np.asarray(vectors, np.float64)
    values = values - values.mean(axis=0)  # changes nothing but rounding
    values /= np.sqrt(np.square(values).sum() or 1.0)
    gram = values @ values.T
    np.fill_diagonal(gram, 0.0)
    return np.asarray(gram)


def _hsic(first: Values, second: Values, own: NDArray[np.intp] | None) -> Values:
    """Returns Song's HSIC of Gram matrices, times n (n - 3): of all images, then without each unit, `[1 + U]`."""
    n = len(first)
    products, rows = first * second, [first.sum(axis=1), second.sum(axis=1)]
    index = np.arange(n) if own is None else own
    left = np.zeros((n, int(index.max()) + 1))
    left[np.arange(n), index] = 1.0
    blocks = [gram if own is None else gram @ left for gram in (first, second, products)]
    inside = [(block * left).sum(axis=0) for block in blocks]  # sums over the pairs within each unit
    trace = products.sum() - 2 * left.T @ products.sum(axis=1) + inside[2]
    sums = [row.sum() - 2 * left.T @ row + part for row, part in zip(rows, inside, strict=False)]
    remaining = [(row[:, None] - block) * (1 - left) for row, block in zip(rows, blocks, strict=False)]
    across, counts = (remaining[0] * remaining[1]).sum(axis=0), n - left.sum(axis=0)
    whole = products.sum(), rows[0].sum(), rows[1].sum(), rows[0] @ rows[1], n
    t, a, b, c, m = (np.append(total, part) for total, part in zip(whole, (trace, *sums, across, counts), strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(t + a * b / ((m - 1) * (m - 2)) - 2 * c / (m - 2))


METRICS: dict[str, Callable[[ArrayLike, ArrayLike, Units | None], Jackknifed]] = {
    f"neighbours@{NEIGHBOURS}": neighbours_kept,
    "cka": linear_cka,
}


def agreement(
    metric: str, first: ArrayLike, second: ArrayLike, units: Units | None = None
) -> tuple[float, float, float]:
    """Returns one of `METRICS` of the same images in two encoders, with its 95 % interval; NaN for fewer than 8."""
    count = len(np.asarray(first)) if units is None else len(np.unique(units))
    value, without = METRICS[metric](first, second, units)
    if count < LEAST_IMAGES:
        return value, np.nan, np.nan
    low, high = jackknife_interval(np.asarray(value), without)
    return value, max(float(low), min(0.0, value)), min(float(high), 1.0)
