"""Metrics on attention maps: whether the encoder looks at the same places."""

import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.metrics.base import metric

Values = NDArray[np.float64]


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
    difference = scaled_map(a, size) - scaled_map(b, size)
    return np.asarray(1.0 / (1.0 + np.mean(difference**2, axis=(-2, -1))))


def scaled_map(attention: ArrayLike, size: int) -> Values:
    """An attention map `[..., g_h, g_w]` at `[..., size, size]`, min-max scaled to [0, 1]; a constant map is zeros.

    Example:
        >>> scaled_map([[1.0, 3.0]], 2).tolist()
        [[0.0, 1.0], [0.0, 1.0]]
    """
    large = upsample(attention, size)
    low = large.min(axis=(-2, -1), keepdims=True)
    span = large.max(axis=(-2, -1), keepdims=True) - low
    # Weights of one upsampled pixel add up to 1 only to rounding, which must not be stretched to a picture.
    flat = span <= 1e-12 * np.abs(large).max(axis=(-2, -1), keepdims=True)
    return np.asarray(np.where(flat, 0.0, (large - low) / np.where(flat, 1.0, span)))


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
    return np.asarray(_bilinear(rows, size) @ values @ _bilinear(columns, size).T)


@functools.cache
def _bilinear(cells: int, size: int) -> Values:
    centres = np.clip((np.arange(size) + 0.5) * cells / size - 0.5, 0, cells - 1)
    left = np.minimum(centres.astype(int), max(cells - 2, 0))
    share = centres - left
    weights = np.zeros((size, cells))
    weights[np.arange(size), left] = 1 - share
    weights[np.arange(size), np.minimum(left + 1, cells - 1)] += share
    return weights
