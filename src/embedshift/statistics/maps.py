"""Attention maps: entropy, similarity and upsampling. Pure NumPy and SciPy, batch first."""

import functools
import math

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Values

# Multiplications up to which OpenBLAS starts no threads: its own would fight with those of the encoder.
ONE_THREAD = 2**18
# Weights of one upsampled pixel add up to 1 only up to rounding, which must not be stretched to a map.
CONSTANT = 1e-12
# The fraction of its pixels that a view must have from the original: over a few, in one patch, any two maps look alike.
LEAST_OVERLAP = 0.1


def attention_entropy(maps: ArrayLike) -> Values:
    with np.errstate(invalid="ignore"):
        flat = flattened(maps)
        return np.asarray(scipy.special.entr(flat / flat.sum(axis=-1, keepdims=True)).sum(axis=-1))


def scaled_map(attention: ArrayLike, size: int) -> Values:
    """An attention map `[..., g_h, g_w]` at `[..., size, size]`, min-max scaled to [0, 1]; constant maps are 0."""
    maps = np.asarray(attention, np.float64)
    scaled = np.empty((*maps.shape[:-2], size, size))
    for index in np.ndindex(maps.shape[:-2]):  # one by one, so that intermediate arrays stay in the processor's cache
        large = upsample(maps[index], size)
        scaled[index] = min_max(large, True, CONSTANT * np.abs(maps[index]).max())
    return scaled


def min_max(maps: Values, where: NDArray[np.bool_] | bool, least: Values | float) -> Values:
    """Scales maps to [0, 1] over the pixels `where` they count; maps that span at most `least` become zeros."""
    low = maps.min(axis=(-2, -1), keepdims=True, where=where, initial=np.inf)
    span = maps.max(axis=(-2, -1), keepdims=True, where=where, initial=-np.inf) - low
    flat = span <= least
    scaled = maps - low
    with np.errstate(invalid="ignore"):  # a map that counts nowhere is NaN
        scaled /= np.where(flat, np.inf, span)
    return np.asarray(scaled)


def likeness(a: Values, b: Values, where: NDArray[np.bool_]) -> Values:
    """Returns equation 6 of scaled maps, over the pixels `where` they count."""
    with np.errstate(invalid="ignore"):
        mean = np.sum((a - b) ** 2, axis=(-2, -1), where=where) / np.sum(where, axis=(-2, -1))
    return np.asarray(1.0 / (1.0 + mean))


def map_likeness(a: ArrayLike, b: ArrayLike, size: int) -> Values:
    """Returns equation 6 of the maps of `scaled_map`, without building them."""
    difference = _scaled(a, size) - _scaled(b, size)
    rows, columns = (_products(cells, size) for cells in difference.shape[-2:])
    squares = difference * (rows @ difference @ columns)
    mean = squares.sum(axis=(-2, -1)) / size**2
    return np.asarray(1.0 / (1.0 + np.maximum(mean, 0.0)))


def aligned_likeness(a: ArrayLike, b: ArrayLike) -> Values:
    """Returns equation 6 of scaled maps `[..., S, S]`, over the pixels where the first is not NaN."""
    before, after = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    inside = ~np.isnan(before)
    # In a map without contrast, moving leaves only float32 rounding.
    alike = likeness(min_max(before, inside, 1e-6), min_max(after, inside, 1e-6), inside)
    return np.asarray(np.where(inside.mean(axis=(-2, -1)) < LEAST_OVERLAP, np.nan, alike))


def divergence(a: ArrayLike, b: ArrayLike) -> Values:
    """Returns the Jensen-Shannon divergence of maps `[..., g_h, g_w]` as distributions, in bits; NaN for zeros."""
    with np.errstate(invalid="ignore"):
        p, q = (weights / weights.sum(axis=-1, keepdims=True) for weights in (flattened(a), flattened(b)))
    middle = (p + q) / 2
    nats = (scipy.special.rel_entr(p, middle) + scipy.special.rel_entr(q, middle)).sum(axis=-1) / 2
    return np.asarray(np.clip(nats / math.log(2), 0.0, 1.0))  # equal maps may lie a rounding below 0


def correlation(a: ArrayLike, b: ArrayLike, least: float = 0.0) -> Values:
    x, y = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    present = ~(np.isnan(x) | np.isnan(y))
    count = present.sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = (np.where(present, map_values - _mean(map_values, present), 0.0) for map_values in (x, y))
        spread = [np.sqrt((map_values**2).sum(axis=(-2, -1)) / count) for map_values in (x, y)]
        correlations = (x * y).sum(axis=(-2, -1)) / count / spread[0] / spread[1]
    has_contrast = (count >= LEAST_OVERLAP * present.shape[-2] * present.shape[-1]) & (np.minimum(*spread) > least)
    return np.asarray(np.where(has_contrast, np.clip(correlations, -1.0, 1.0), np.nan))


def _mean(maps: Values, where: NDArray[np.bool_]) -> Values:
    count = where.sum(axis=(-2, -1), keepdims=True)
    return np.asarray(np.sum(maps, axis=(-2, -1), keepdims=True, where=where) / count)


def _scaled(attention: ArrayLike, size: int) -> Values:
    """Returns the map `[..., g_h, g_w]` whose upsampled version is `scaled_map`."""
    maps = np.asarray(attention, np.float64)
    rows, columns = (_corners(cells, size) for cells in maps.shape[-2:])
    corners, axes = rows @ maps @ columns.T, (-2, -1)
    low = corners.min(axis=axes, keepdims=True)
    span = corners.max(axis=axes, keepdims=True) - low
    flat = span <= CONSTANT * np.abs(maps).max(axis=axes, keepdims=True)
    return np.asarray(np.where(flat, 0.0, maps - low) / np.where(flat, 1.0, span))


def flattened(maps: ArrayLike) -> Values:
    values = np.asarray(maps, np.float64)
    return values.reshape(*values.shape[:-2], values.shape[-2] * values.shape[-1])


def upsample(maps: ArrayLike, size: int) -> Values:
    """Upsamples bilinearly with half-pixel centres and repeated edges, as OpenCV and torch (`align_corners=False`)."""
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
    left, fraction = _cells_to_the_left(cells, size)
    weights = np.zeros((size, cells))
    weights[np.arange(size), left] = 1 - fraction
    weights[np.arange(size), np.minimum(left + 1, cells - 1)] += fraction
    return weights


@functools.cache
def _products(cells: int, size: int) -> Values:
    weights = _bilinear(cells, size)
    return np.asarray(weights.T @ weights)


@functools.cache
def _corners(cells: int, size: int) -> Values:
    left = _cells_to_the_left(cells, size)[0]
    change = np.flatnonzero(np.diff(left))
    return np.asarray(_bilinear(cells, size)[np.unique(np.concatenate([[0], change, change + 1, [size - 1]]))])


def _cells_to_the_left(cells: int, size: int) -> tuple[NDArray[np.intp], Values]:
    centres = np.clip((np.arange(size) + 0.5) * cells / size - 0.5, 0, cells - 1)
    left = np.minimum(centres.astype(np.intp), max(cells - 2, 0))
    return left, centres - left
