"""Metrics on attention maps: whether the encoder looks at the same places."""

import functools
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr
from scipy.stats import entropy

from embedshift.metrics.base import metric

Values = NDArray[np.float64]

# Multiplications up to which OpenBLAS starts no threads: its own would fight with those of the encoder.
ONE_THREAD = 2**18
# Weights of one upsampled pixel add up to 1 only to rounding, which must not be stretched to a picture.
CONSTANT = 1e-12


@metric("attention similarity", "attention", no_change=1.0, low=0.5, high=1.0, higher_is_better=True)
def attention_similarity(a: ArrayLike, b: ArrayLike, size: int) -> Values:
    r"""Likeness of two attention maps (the paper's equation 6, which it calls "attention shift").

    .. math:: \mathrm{attn} = \frac{1}{1 + \frac{1}{mn} \sum_{i,j} (A_{ij} - A'_{ij})^2}

    A is the map brought to the size of the view (`upsample`) and then min-max scaled to [0, 1]; a constant map scales
    to zeros.

    Args:
        a: Attention on the originals `[..., g_h, g_w]`.
        b: Attention on the views `[..., g_h, g_w]`.
        size: Side S of the views, in pixels.

    Returns:
        float64 `[...]` in [0.5, 1]; 1 = no change.

    Example:
        >>> round(attention_similarity([[0.0, 1.0]], [[1.0, 0.0]], 2).item(), 3)
        0.5
    """
    return _map_likeness(a, b, size)


@metric("rollout similarity", "rollout", no_change=1.0, low=0.5, high=1.0, higher_is_better=True, optional=True)
def rollout_similarity(a: ArrayLike, b: ArrayLike, size: int) -> Values:
    r"""Likeness of two maps of attention that was rolled out through all layers (Abnar and Zuidema 2020).

    .. math:: R_l = \mathrm{rows}(\tfrac{1}{2} (A_l + I)) \, R_{l-1}, \quad R_0 = I

    with A the mean over heads, and rows that add up to 1. The map is the class token's row of the last R; without a
    class token the pooling head's weights times R, else the mean of all rows. Two maps are compared as
    `attention_similarity` compares them.

    Args:
        a: Rolled-out attention on the originals `[..., g_h, g_w]`.
        b: Rolled-out attention on the views `[..., g_h, g_w]`.
        size: Side S of the views, in pixels.

    Returns:
        float64 `[...]` in [0.5, 1]; 1 = no change.

    Example:
        >>> rollout_similarity([[0.0, 1.0]], [[0.0, 1.0]], 2).item()
        1.0
    """
    return _map_likeness(a, b, size)


@metric(
    "aligned attention similarity", "aligned", no_change=1.0, low=0.5, high=1.0, higher_is_better=True, optional=True
)
def aligned_attention_similarity(a: ArrayLike, b: ArrayLike) -> Values:
    """Likeness of two attention maps after the original's was moved as the view's picture was.

    As `attention_similarity`, over the part of the view that shows the original: outside, where the original's map has
    nothing to say, the view's is not looked at, and both are scaled to [0, 1] over that part alone.

    Args:
        a: Attention on the originals as `scaled_map` gives it, moved, NaN where the view shows nothing of the original,
            `[..., S, S]`.
        b: Attention on the views as `scaled_map` gives it, `[..., S, S]`.

    Returns:
        float64 `[...]` in [0.5, 1]; 1 = the attention moved with the picture; NaN where nothing is to compare.

    Example:
        >>> aligned_attention_similarity([[np.nan, 0.0, 0.5]], [[1.0, 0.2, 0.6]]).item()
        1.0
    """
    before, after = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    inside = ~np.isnan(before)
    # What moving leaves of a map without contrast is rounding of float32.
    return _likeness(_min_max(before, inside, 1e-6), _min_max(after, inside, 1e-6), inside)


@metric(
    "attention entropy rise, nats",
    "attention",
    no_change=0.0,
    low=-math.inf,
    high=math.inf,
    higher_is_better=False,
    optional=True,
)
def attention_entropy_rise(a: ArrayLike, b: ArrayLike, size: int) -> Values:
    r"""Entropy of the view's attention map less that of the original's: above 0, attention spread.

    .. math:: H(A') - H(A), \quad H(A) = -\sum_k p_k \ln p_k, \quad p_k = A_k / \sum_j A_j

    Args:
        a: Attention on the originals `[..., g_h, g_w]`.
        b: Attention on the views `[..., g_h, g_w]`.
        size: Not used: the map is taken as it is.

    Returns:
        float64 `[...]` in nats, from -ln(g_h g_w) to ln(g_h g_w); 0 = no change; NaN for a map of zeros.

    Example:
        >>> round(attention_entropy_rise([[0.0, 1.0]], [[0.5, 0.5]], 2).item(), 3)
        0.693
    """
    return np.asarray(attention_entropy(b) - attention_entropy(a))


def attention_entropy(maps: ArrayLike) -> Values:
    """How far attention is spread, in nats: 0 = on one patch, ln(g_h g_w) = evenly on all; NaN for a map of zeros.

    Args:
        maps: `[..., g_h, g_w]`; each is brought to a sum of 1.

    Returns:
        float64 `[...]`.

    Example:
        >>> attention_entropy([[[0.0, 2.0]], [[0.0, 0.0]]]).tolist()
        [0.0, nan]
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(entropy(_flat(maps), axis=-1))


@metric(
    "attention divergence, bits",
    "attention",
    no_change=0.0,
    low=0.0,
    high=1.0,
    higher_is_better=False,
    optional=True,
)
def attention_divergence(a: ArrayLike, b: ArrayLike, size: int) -> Values:
    r"""How far apart two attention maps are as distributions over the patches (Jensen-Shannon divergence).

    .. math:: \tfrac{1}{2} \mathrm{KL}(p \| m) + \tfrac{1}{2} \mathrm{KL}(q \| m), \quad m = \tfrac{1}{2} (p + q)

    with logarithms of base 2, and p and q the maps brought to a sum of 1.

    Args:
        a: Attention on the originals `[..., g_h, g_w]`.
        b: Attention on the views `[..., g_h, g_w]`.
        size: Not used: the maps are taken as they are.

    Returns:
        float64 `[...]` in bits, in [0, 1]; 0 = no change, 1 = no patch in common; NaN for a map of zeros.

    Example:
        >>> attention_divergence([[0.0, 1.0]], [[1.0, 0.0]], 2).item()
        1.0
    """
    with np.errstate(invalid="ignore"):
        p, q = (flat / flat.sum(axis=-1, keepdims=True) for flat in (_flat(a), _flat(b)))
    middle = (p + q) / 2
    nats = (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=-1) / 2
    return np.asarray(np.clip(nats / math.log(2), 0.0, 1.0))  # equal maps may lie a rounding below 0


def scaled_map(attention: ArrayLike, size: int) -> Values:
    """An attention map `[..., g_h, g_w]` at `[..., size, size]`, min-max scaled to [0, 1]; a constant map is zeros.

    Example:
        >>> scaled_map([[1.0, 3.0]], 2).tolist()
        [[0.0, 1.0], [0.0, 1.0]]
    """
    maps = np.asarray(attention, np.float64)
    scaled = np.empty((*maps.shape[:-2], size, size))
    for place in np.ndindex(maps.shape[:-2]):  # one by one, so that what is between stays in the processor's cache
        large = upsample(maps[place], size)
        scaled[place] = _min_max(large, True, CONSTANT * np.abs(maps[place]).max())
    return scaled


def _min_max(maps: Values, where: NDArray[np.bool_] | bool, least: Values | float) -> Values:
    """Maps scaled to [0, 1] over the pixels `where` they count; zeros where they span no more than `least`."""
    low = maps.min(axis=(-2, -1), keepdims=True, where=where, initial=np.inf)
    span = maps.max(axis=(-2, -1), keepdims=True, where=where, initial=-np.inf) - low
    flat = span <= least
    scaled = maps - low
    with np.errstate(invalid="ignore"):  # a map that counts nowhere is NaN
        scaled /= np.where(flat, np.inf, span)
    return np.asarray(scaled)


def _likeness(a: Values, b: Values, where: NDArray[np.bool_]) -> Values:
    """Equation 6 of scaled maps, over the pixels `where` they count."""
    with np.errstate(invalid="ignore"):
        mean = np.sum((a - b) ** 2, axis=(-2, -1), where=where) / np.sum(where, axis=(-2, -1))
    return np.asarray(1.0 / (1.0 + mean))


def _map_likeness(a: ArrayLike, b: ArrayLike, size: int) -> Values:
    r"""Equation 6 of the maps as `scaled_map` gives them, without making them.

    Upsampling is linear, U = R A C', and its weights add up to 1, so that A can be scaled before it. For the difference
    D of two scaled A's, the sum over all pixels of U's squares is the sum over all patches of D * (R'R D C'C).
    """
    difference = _scaled(a, size) - _scaled(b, size)
    rows, columns = (_bilinear(cells, size) for cells in difference.shape[-2:])
    squares = difference * ((rows.T @ rows) @ difference @ (columns.T @ columns))
    mean = squares.sum(axis=(-2, -1)) / size**2
    return np.asarray(1.0 / (1.0 + np.maximum(mean, 0.0)))


def _scaled(attention: ArrayLike, size: int) -> Values:
    """The map `[..., g_h, g_w]` that becomes `scaled_map` when it is upsampled."""
    maps = np.asarray(attention, np.float64)
    # Between the centres of four patches the upsampled map is bilinear: what is largest there lies in a corner.
    rows, columns = (_bilinear(cells, size)[_nearest_centres(cells, size)] for cells in maps.shape[-2:])
    corners, axes = rows @ maps @ columns.T, (-2, -1)
    low = corners.min(axis=axes, keepdims=True)
    span = corners.max(axis=axes, keepdims=True) - low
    flat = span <= CONSTANT * np.abs(maps).max(axis=axes, keepdims=True)
    return np.asarray(np.where(flat, 0.0, maps - low) / np.where(flat, 1.0, span))


def _flat(maps: ArrayLike) -> Values:
    values = np.asarray(maps, np.float64)
    return values.reshape(*values.shape[:-2], values.shape[-2] * values.shape[-1])


def upsample(maps: ArrayLike, size: int) -> Values:
    """Bilinear upsampling with half-pixel centres, the edge repeated, as OpenCV's and torch's (`align_corners=False`).

    Args:
        maps: `[..., g_h, g_w]`.
        size: Side of the result, in pixels, at least the larger of g_h and g_w.

    Returns:
        float64 `[..., size, size]`.

    Example:
        >>> upsample([[0.0, 1.0]], 4)[0].tolist()
        [0.0, 0.25, 0.75, 1.0]
    """
    values = np.asarray(maps, np.float64)
    rows, columns = values.shape[-2:]
    wide, tall = values @ _bilinear(columns, size).T, _bilinear(rows, size)
    large = np.empty((*values.shape[:-2], size, size))
    step = max(1, ONE_THREAD // (size * rows))
    for start in range(0, size, step):
        np.matmul(tall[start : start + step], wide, out=large[..., start : start + step, :])
    return large


@functools.cache
def _bilinear(cells: int, size: int) -> Values:
    """The weights of cells in upsampled pixels, `[size, cells]`."""
    left, share = _places(cells, size)
    weights = np.zeros((size, cells))
    weights[np.arange(size), left] = 1 - share
    weights[np.arange(size), np.minimum(left + 1, cells - 1)] += share
    return weights


@functools.cache
def _nearest_centres(cells: int, size: int) -> NDArray[np.intp]:
    """Upsampled pixels that are the first or the last between two centres of cells."""
    left = _places(cells, size)[0]
    change = np.flatnonzero(np.diff(left))
    return np.unique(np.concatenate([[0], change, change + 1, [size - 1]]))


def _places(cells: int, size: int) -> tuple[NDArray[np.intp], Values]:
    """Of every upsampled pixel: the cell whose centre is the next to the left, and how far it is beyond it."""
    centres = np.clip((np.arange(size) + 0.5) * cells / size - 0.5, 0, cells - 1)
    left = np.minimum(centres.astype(np.intp), max(cells - 2, 0))
    return left, centres - left
