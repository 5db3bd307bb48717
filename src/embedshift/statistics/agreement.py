"""Do two encoders see the same neighbours? Kept neighbours and linear CKA of the same images, with their errors.

And CKA over minibatches: the similarity of a set of images before and after a change, layer by layer.
"""

from collections.abc import Callable, Iterable

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import GroupNumbers, Values
from embedshift.statistics.intervals import CONFIDENCE, LEAST_IMAGES, jackknife_interval
from embedshift.statistics.sample import group_numbers
from embedshift.statistics.vectors import normalised

NEIGHBOURS = 10
NEIGHBOURS_KEPT = f"neighbours@{NEIGHBOURS}"
# Images whose pairs are compared.
COMPARED = 2_000


def neighbours_counted(others: int) -> int:
    """Returns how many nearest images count: 10, but at most half of the others, since all of them always stay."""
    return min(NEIGHBOURS, max(1, others // 2))


def overlap(before: NDArray[np.int64], after: NDArray[np.int64], count: int) -> Values:
    """Returns the proportion of the nearest other images that stay among them: `[q, T]` each → `[q]`."""
    old, new = before[:, :count], after[:, :count]
    present = (old >= 0).sum(axis=1)
    kept = ((old[:, :, None] == new[:, None, :]) & (old >= 0)[:, :, None]).any(axis=2).sum(axis=1)
    is_defined = (present > 0) & (new >= 0).any(axis=1) if new.shape[1] else np.zeros(len(old), bool)
    return np.where(is_defined, kept / np.maximum(present, 1), np.nan)


def neighbours_kept(first: ArrayLike, second: ArrayLike, groups: GroupNumbers | None = None) -> tuple[float, float]:
    """Returns the mean fraction of an image's nearest 10 other images by cosine that are so in both sets `[n, D]`.

    Images of its own group are no neighbours. Of fewer than 21 images, the nearest half of the others count. The second
    number is the standard error over images and their neighbours, by the jackknife for pairs with Efron and Stein's
    correction (1981), without which it counts what is particular to a pair twice.
    """
    own = group_numbers(groups, len(np.asarray(first)))
    number, count = int(own.max()) + 1, neighbours_of(own)
    is_near = [_is_near(vectors, own, count) for vectors in (first, second)]
    both, either = is_near[0] & is_near[1], (is_near[0].astype(np.float64) + is_near[1]) / 2
    value = float(both.sum() / either.sum()) if either.any() else np.nan
    beyond = np.zeros((number, number))
    np.add.at(beyond, (own[:, None], own), both - value * either)
    pairs = beyond + beyond.T
    sums = pairs.sum(axis=1)
    particular = pairs - (sums[:, None] + sums) / max(1, number - 2)
    np.fill_diagonal(particular, 0.0)
    variance = number / max(1, number - 1) * np.square(sums).sum() - np.square(particular).sum() / 2
    return value, float(np.sqrt(max(variance, 0.0)) / max(1.0, either.sum()))


def neighbours_by_chance(count: int, groups: GroupNumbers | None = None) -> float:
    own = group_numbers(groups, count)
    return float(np.mean(neighbours_of(own) / np.maximum(count - np.bincount(own)[own], 1)))


def neighbours_of(own: NDArray[np.intp]) -> int:
    """Returns how many nearest images count among images of groups, none of which is a neighbour of its own."""
    return neighbours_counted(len(own) - int(np.bincount(own).max()))


def _is_near(vectors: ArrayLike, own: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
    """Returns whether the second image is among the nearest to the first outside its group, `[n, n]`."""
    directions = np.nan_to_num(normalised(vectors))
    cosines = np.round(directions @ directions.T, 12)  # equal vectors are ties, in order of position
    cosines[own[:, None] == own] = -np.inf
    is_near = np.zeros(cosines.shape, bool)
    np.put_along_axis(is_near, np.argsort(-cosines, axis=1, kind="stable")[:, :count], values=True, axis=1)
    return is_near & ~np.isneginf(cosines)


def linear_cka(first: ArrayLike, second: ArrayLike, groups: GroupNumbers | None = None) -> tuple[float, float]:
    """Returns the linear CKA of two sets of vectors `[n, D]` (Kornblith 2019), by Song's unbiased HSIC (2012).

    It is 1 if the second are the first turned and scaled, and 0 on average if they are independent. The second number
    is its standard error by the jackknife over images, or groups.
    """
    grams = [_gram(vectors) for vectors in (first, second)]
    own = None if groups is None else np.unique(groups, return_inverse=True)[1]
    both, one, other = (_hsic_without_each(grams[a], grams[b], own) for a, b in ((0, 1), (0, 0), (1, 1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        full, *without = np.clip(both / np.sqrt(one * other), -1.0, 1.0)
    return float(full), float(np.sqrt(len(without) - 1) * np.std(without))


def _gram(vectors: ArrayLike) -> Values:
    values = np.asarray(vectors, np.float64)
    values = values - values.mean(axis=0)  # changes nothing but rounding
    values /= np.sqrt(np.square(values).sum() or 1.0)
    gram = values @ values.T
    np.fill_diagonal(gram, 0.0)
    return np.asarray(gram)


def _hsic_without_each(first: Values, second: Values, own: NDArray[np.intp] | None) -> Values:
    """Returns Song's HSIC of Gram matrices, times n (n - 3): of all images, then without each group, `[1 + G]`."""
    n = len(first)
    products, rows = first * second, [first.sum(axis=1), second.sum(axis=1)]
    index = np.arange(n) if own is None else own
    left = np.zeros((n, int(index.max()) + 1))
    left[np.arange(n), index] = 1.0
    blocks = [gram if own is None else gram @ left for gram in (first, second, products)]
    inside = [(block * left).sum(axis=0) for block in blocks]  # sums over the pairs within each group
    trace = products.sum() - 2 * left.T @ products.sum(axis=1) + inside[2]
    sums = [row.sum() - 2 * left.T @ row + part for row, part in zip(rows, inside, strict=False)]
    remaining = [(row[:, None] - block) * (1 - left) for row, block in zip(rows, blocks, strict=False)]
    across, counts = (remaining[0] * remaining[1]).sum(axis=0), n - left.sum(axis=0)
    whole = products.sum(), rows[0].sum(), rows[1].sum(), rows[0] @ rows[1], n
    t, a, b, c, m = (np.append(total, part) for total, part in zip(whole, (trace, *sums, across, counts), strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(t + a * b / ((m - 1) * (m - 2)) - 2 * c / (m - 2))


METRICS: dict[str, Callable[[ArrayLike, ArrayLike, GroupNumbers | None], tuple[float, float]]] = {
    NEIGHBOURS_KEPT: neighbours_kept,
    "cka": linear_cka,
}


def agreement(
    metric: str, first: ArrayLike, second: ArrayLike, groups: GroupNumbers | None = None
) -> tuple[float, float, float]:
    """Returns one of `METRICS` of images in two encoders, with its 95 % interval, NaN for fewer than 8 images."""
    count = len(np.asarray(first)) if groups is None else len(np.unique(groups))
    value, error = METRICS[metric](first, second, groups)
    margin = scipy.special.stdtrit(count - 1, (1 + CONFIDENCE) / 2) * error if count >= LEAST_IMAGES else np.nan
    low, high = np.clip([value - margin, value + margin], min(0.0, value), 1.0)
    return value, float(low), float(high)


# With fewer images in a minibatch the unbiased HSIC is not defined.
LEAST_MINIBATCH = 4
# With fewer images in all CKA has no value: views that have nothing to do with the originals reach high ones by chance.
LEAST_CKA = 30


def hsic(k: ArrayLike, l: ArrayLike) -> Values:  # noqa: E741 - the paper's letters
    """Unbiased estimate of the Hilbert-Schmidt independence criterion (Song et al. 2012, equation 5)."""
    first, second = np.array(k, np.float64), np.array(l, np.float64)
    m = first.shape[-1]
    if m < LEAST_MINIBATCH:
        raise ValueError(f"the unbiased HSIC needs {LEAST_MINIBATCH} images, not {m}")
    diagonal = np.arange(m)
    first[..., diagonal, diagonal] = second[..., diagonal, diagonal] = 0.0
    first_sums, second_sums = first.sum(axis=-1), second.sum(axis=-1)
    products = (first * second).sum(axis=(-2, -1))
    totals = first_sums.sum(axis=-1) * second_sums.sum(axis=-1) / ((m - 1) * (m - 2))
    rows = (first_sums * second_sums).sum(axis=-1) * 2 / (m - 2)
    return np.asarray((products + totals - rows) / (m * (m - 3)))


def cka(terms: ArrayLike) -> Values:
    """Linear CKA (Kornblith et al. 2019) of terms, which may be a sum over minibatches (Nguyen et al. 2021)."""
    parts = np.asarray(terms, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(parts[..., 0] / np.sqrt(parts[..., 1] * parts[..., 2]))


def cka_interval(total: Values, shards: Iterable[Values]) -> tuple[Values, Values]:
    """Returns 95 % intervals of CKA: the jackknife over shards, with Student's t."""
    low, high = jackknife_interval(cka(total), (cka(total - terms) for terms in shards))
    return np.maximum(low, -1.0), np.minimum(high, 1.0)


def gram_terms(k: Values, l: Values) -> Values:  # noqa: E741 - the paper's letters
    """Returns the three numbers of linear CKA for one minibatch, from two similarity matrices `[..., m, m]`."""
    return np.stack([hsic(k, l), hsic(k, k), hsic(l, l)], axis=-1)


def gram_matrices(x: ArrayLike) -> Values:
    """Returns inner products `[L, m, m]` of `[m, L, W]`."""
    vectors = np.moveaxis(np.asarray(x, np.float64), 0, 1)
    # The estimate does not depend on the mean; a large one would only cost digits.
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    return np.asarray(vectors @ np.swapaxes(vectors, -2, -1))
