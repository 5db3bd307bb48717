"""CKA over minibatches: the similarity of a set of images before and after a change, layer by layer."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from embedshift.arrays import Values
from embedshift.statistics.intervals import jackknife_interval

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


def interval(total: Values, shards: Iterable[Values]) -> tuple[Values, Values]:
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
