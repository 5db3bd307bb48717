"""CKA over minibatches: the similarity of a set of images before and after a change, layer by layer."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from embedshift.arrays import Values
from embedshift.statistics.intervals import of_jackknife

# With fewer images in a minibatch the unbiased HSIC is not defined.
LEAST_MINIBATCH = 4
# With fewer images in all CKA has no value: views that have nothing to do with the originals reach high ones by chance.
LEAST_CKA = 30


def hsic(k: ArrayLike, l: ArrayLike) -> Values:  # noqa: E741 - the paper's letters
    r"""Unbiased estimate of the Hilbert-Schmidt independence criterion (Song et al. 2012, equation 5).

    .. math:: \frac{1}{m(m-3)} \left[ \mathrm{tr}(\tilde K \tilde L)
        + \frac{1^T \tilde K 1 \; 1^T \tilde L 1}{(m-1)(m-2)} - \frac{2}{m-2} 1^T \tilde K \tilde L 1 \right]

    K~ is K with zeros on its diagonal.

    Args:
        k: Similarities between m images, symmetric `[..., m, m]`, m at least 4.
        l: Similarities by another measure, `[..., m, m]`.

    Returns:
        float64 `[...]`; 0 on average if the two are independent, so that it may be negative.

    Raises:
        ValueError: There are fewer than 4 images.

    Example:
        >>> near = np.eye(4)[[1, 0, 3, 2]]
        >>> round(float(hsic(near, near)), 6)
        0.666667
    """
    first, second = np.array(k, np.float64), np.array(l, np.float64)
    m = first.shape[-1]
    if m < LEAST_MINIBATCH:
        raise ValueError(f"the unbiased HSIC needs {LEAST_MINIBATCH} images, not {m}")
    diagonal = np.arange(m)
    first[..., diagonal, diagonal] = second[..., diagonal, diagonal] = 0.0
    sums, other = first.sum(axis=-1), second.sum(axis=-1)
    products = (first * second).sum(axis=(-2, -1))
    totals = sums.sum(axis=-1) * other.sum(axis=-1) / ((m - 1) * (m - 2))
    rows = (sums * other).sum(axis=-1) * 2 / (m - 2)
    return np.asarray((products + totals - rows) / (m * (m - 3)))


def cka_terms(x: ArrayLike, y: ArrayLike) -> Values:
    """Returns the three numbers of linear CKA for one minibatch.

    Args:
        x: Outputs for m originals, `[m, L, W]`, m at least 4.
        y: Outputs for their views, `[m, L, W]`.

    Returns:
        float64 `[L, 3]`: HSIC of x with y, of x with itself, of y with itself.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(8, 2, 3))
        >>> cka(cka_terms(x, 5 * x)).round(6).tolist()
        [1.0, 1.0]
    """
    return terms_of(likeness(x), likeness(y))


def cka(terms: ArrayLike) -> Values:
    """Linear CKA (Kornblith et al. 2019) of terms, which may be a sum over minibatches (Nguyen et al. 2021).

    Args:
        terms: Terms from `cka_terms`, `[..., 3]`.

    Returns:
        float64 `[...]` in [-1, 1]: 1 = the views lie relative to each other as the originals do, up to rotation and
        scaling; 0 = nothing in common. Unbiased HSIC is an inner product, so that by Cauchy and Schwarz CKA is at most
        1, also for sums over minibatches; it may be negative. NaN if all originals or all views are equal.

    Example:
        >>> cka([1.0, 4.0, 1.0]).item()
        0.5
    """
    parts = np.asarray(terms, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(parts[..., 0] / np.sqrt(parts[..., 1] * parts[..., 2]))


def interval(total: Values, shards: Iterable[Values]) -> tuple[Values, Values]:
    """Returns 95 % intervals of CKA: the jackknife over shards, with Student's t.

    Args:
        total: Sums of the terms of all B shards, `[..., 3]`.
        shards: The terms of each shard, `[..., 3]`; they are read once, and one is in memory at a time.

    Returns:
        Lower and upper ends, `[...]`, within [-1, 1]; NaN for one shard.

    Example:
        >>> shards = [np.array([1.0, 2.0, 1.0]), np.array([1.2, 2.0, 1.0]), np.array([1.1, 2.0, 1.0])]
        >>> [round(end.item(), 3) for end in interval(sum(shards), shards)]
        [0.602, 0.953]
    """
    low, high = of_jackknife(cka(total), (cka(total - terms) for terms in shards))
    return np.maximum(low, -1.0), np.minimum(high, 1.0)


def terms_of(k: Values, l: Values) -> Values:  # noqa: E741 - the paper's letters
    """Returns the three numbers of two similarity matrices `[..., m, m]`, as in `cka_terms`."""
    return np.stack([hsic(k, l), hsic(k, k), hsic(l, l)], axis=-1)


def likeness(x: ArrayLike) -> Values:
    """Returns inner products `[L, m, m]` of `[m, L, W]`."""
    vectors = np.moveaxis(np.asarray(x, np.float64), 0, 1)
    # The estimate does not depend on the mean; a large one would only cost digits.
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    return np.asarray(vectors @ np.swapaxes(vectors, -2, -1))
