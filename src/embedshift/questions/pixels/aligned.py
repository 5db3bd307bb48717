"""What a view shows of the original, where NaN marks the rest: its patches, edges and contrast."""

import numpy as np

from embedshift.arrays import Values
from embedshift.statistics.maps import LEAST_OVERLAP


def compared(o: Values, a: Values) -> tuple[Values, Values]:
    """Returns originals and views `[..., S, S, 3]`, both NaN where the original is, or if too little can be compared.

    Raises:
        ValueError: They differ in size, or are no images.
    """
    if o.shape[-3:] != a.shape[-3:] or o.ndim < 3 or o.shape[-1] != 3:
        raise ValueError(f"aligned metrics compare [..., S, S, 3] of one size, not {o.shape} and {a.shape}")
    before, after = np.broadcast_arrays(np.asarray(o, np.float64), np.asarray(a, np.float64))
    lacking = np.isnan(before).any(axis=-1, keepdims=True)
    lacking = lacking | (1.0 - lacking.mean(axis=(-3, -2, -1), keepdims=True) < LEAST_OVERLAP)
    return np.where(lacking, np.nan, before), np.where(lacking, np.nan, after)


def mean_of_present(values: Values, axes: tuple[int, ...], least: float = 0.0) -> Values:
    """Returns means over the values that are not NaN; NaN where they are fewer than a fraction `least`."""
    present = ~np.isnan(values)
    count = present.sum(axis=axes)
    with np.errstate(invalid="ignore"):
        means = np.sum(values, axis=axes, where=present) / count
    return np.where(count < least * (values.size / max(1, count.size)), np.nan, means)


def in_patches(levels: Values, cells: int) -> tuple[Values, Values]:
    """Cuts levels `[..., H, W]` into a grid by integer division, `[..., cells, cells, pixels]`.

    The second array has their means; NaN where less than a tenth of the patch can be compared.
    """
    height, width = (side // cells for side in levels.shape[-2:])
    cut = levels[..., : cells * height, : cells * width].reshape(*levels.shape[:-2], cells, height, cells, width)
    patches = cut.swapaxes(-3, -2).reshape(*levels.shape[:-2], cells, cells, height * width)
    return patches, mean_of_present(patches, (-1,), LEAST_OVERLAP)


def edge_strength(levels: Values) -> Values:
    """Returns |G_x| + |G_y|, divided by its largest value; NaN where the pixel or a neighbour of it is not compared."""
    across, down = (np.abs(np.gradient(levels, axis=axis)) for axis in (-1, -2))
    strength = np.where(np.isnan(levels), np.nan, across + down)
    largest = np.max(strength, axis=(-2, -1), keepdims=True, where=~np.isnan(strength), initial=0.0)
    return np.asarray(strength / np.where(largest > 0, largest, 1.0))
