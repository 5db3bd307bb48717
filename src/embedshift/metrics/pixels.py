"""Metrics on the pictures themselves: how much of the original an augmentation leaves."""

import numpy as np
from numpy.typing import NDArray

from embedshift.metrics.base import metric

Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]

PATCH_GRID = 4
DETAIL_GRID = 8
# In grey levels. Rounding alone gives a uniform patch 8e-6 in float32; the least non-uniform patch has 4e-3.
UNIFORM = 1e-3
# Looked up, which is faster than squaring in a wider type.
SQUARES = np.arange(256, dtype=np.int32) ** 2


@metric("patch similarity", "pixels", no_change=1.0, low=0.5, high=1.0, higher_is_better=True)
def patch_similarity(o: Pixels, a: Pixels) -> Values:
    r"""Likeness of the pixels, patch by patch (the paper's equations 7 and 8).

    .. math:: \mathrm{patch} = \frac{1}{16} \sum_{k=1}^{16} \frac{1}{1 + \mathrm{MSE}_k / 255^2}

    over a 4 x 4 grid by integer division (what is left over at the right and the bottom is not used), on RGB, in
    floating point. The authors' scripts subtract and square in uint8; see `patch_similarity_uint8`.

    Args:
        o: Original views, uint8 `[..., S, S, 3]`.
        a: Augmented views, uint8 `[..., S, S, 3]`.

    Returns:
        float64 `[...]` in [0.5, 1]; 1 = no change.

    Raises:
        ValueError: for other dtypes or shapes, or views of two sizes.

    Example:
        >>> black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
        >>> patch_similarity(black, white).item()
        0.5
    """
    _require_views(o, a)
    return _mean_over_patches(SQUARES[np.maximum(o, a) - np.minimum(o, a)])


@metric("patch similarity (uint8)", "pixels", no_change=1.0, low=0.996, high=1.0, higher_is_better=True, optional=True)
def patch_similarity_uint8(o: Pixels, a: Pixels) -> Values:
    """Patch similarity with the integer arithmetic of the authors' scripts, kept so that readers can see both.

    The difference and its square wrap at 256, so that no patch can differ by more than 255 grey levels squared and the
    value cannot fall below 1 / (1 + 255 / 255**2) = 0.9961, whatever the pictures show.

    Args:
        o: Original views, uint8 `[..., S, S, 3]`.
        a: Augmented views, uint8 `[..., S, S, 3]`.

    Returns:
        float64 `[...]` in [0.9961, 1]; 1 = no change, or a change that wraps to 0.

    Raises:
        ValueError: for other dtypes or shapes, or views of two sizes.

    Example:
        >>> black, sixteen = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 16, np.uint8)
        >>> patch_similarity_uint8(black, sixteen).item()
        1.0
    """
    _require_views(o, a)
    difference = o - a
    return _mean_over_patches(difference * difference)


@metric("edge preservation", "pixels", no_change=1.0, low=0.0, high=1.0, higher_is_better=True)
def edge_preservation(o: Pixels, a: Pixels) -> Values:
    r"""Likeness of the edge maps (the paper's equations 9 to 11).

    .. math:: \mathrm{edge} = 1 - \frac{1}{mn} \sum_{i,j} |E_{ij} - E'_{ij}|, \quad
              E = \frac{|G_x(I)| + |G_y(I)|}{\max(|G_x(I)| + |G_y(I)|)}

    with central differences on grey (`numpy.gradient`); a flat image has E = 0.

    Args:
        o: Original views, uint8 `[..., S, S, 3]`.
        a: Augmented views, uint8 `[..., S, S, 3]`.

    Returns:
        float64 `[...]` in [0, 1]; 1 = no change.

    Raises:
        ValueError: for other dtypes or shapes, or views of two sizes.

    Example:
        >>> flat = np.full((8, 8, 3), 9, np.uint8)
        >>> edge_preservation(flat, flat + 1).item()
        1.0
    """
    _require_views(o, a)
    difference = _edges(o) - _edges(a)
    return np.asarray(1.0 - np.mean(np.abs(difference, out=difference), axis=(-2, -1)))


@metric("detail preservation", "pixels", no_change=1.0, low=0.0, high=1.0, higher_is_better=True)
def detail_preservation(o: Pixels, a: Pixels) -> Values:
    r"""Likeness of the local contrast (the paper's equation 12).

    .. math:: \mathrm{detail} = \frac{1}{N} \sum_{k} \exp(-|\log \frac{\sigma(P'_k)}{\sigma(P_k)}|)

    over the N patches of an 8 x 8 grid on grey that are not uniform in the original (standard deviation of 1e-3 grey
    levels or more). A patch that the augmentation makes uniform counts 0.

    Args:
        o: Original views, uint8 `[..., S, S, 3]`.
        a: Augmented views, uint8 `[..., S, S, 3]`.

    Returns:
        float64 `[...]` in [0, 1]; 1 = no change; NaN where the original has no such patch.

    Raises:
        ValueError: for other dtypes or shapes, or views of two sizes.

    Example:
        >>> flat = np.full((8, 8, 3), 9, np.uint8)
        >>> detail_preservation(flat, flat).item()
        nan
    """
    _require_views(o, a)
    before, after = np.broadcast_arrays(_patch_sd(o), _patch_sd(a))
    valid = before >= UNIFORM
    kept = np.where(after >= UNIFORM, after, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        # exp(-|ln r|) = min(r, 1 / r), which is defined at r = 0 too.
        ratio = np.where(valid, np.minimum(kept / before, before / np.where(kept > 0, kept, np.inf)), 0.0)
        ratio = np.where(kept > 0, ratio, 0.0)
        return np.asarray(ratio.sum(axis=(-2, -1)) / valid.sum(axis=(-2, -1)))


def grey(image: Pixels) -> Values:
    """Grey = 0.299 R + 0.587 G + 0.114 B, uint8 `[..., H, W, 3]` → float64 `[..., H, W]` in [0, 255].

    Example:
        >>> grey(np.full((1, 1, 3), 100, np.uint8)).round(6).tolist()
        [[100.0]]
    """
    return np.asarray(0.299 * image[..., 0] + 0.587 * image[..., 1] + 0.114 * image[..., 2])


def _require_views(o: Pixels, a: Pixels) -> None:
    """Raises ValueError for arrays that would give a number, but not the one that was asked for."""
    if o.dtype != np.uint8 or a.dtype != np.uint8 or o.shape[-3:] != a.shape[-3:] or o.ndim < 3 or o.shape[-1] != 3:
        raise ValueError(
            f"pixel metrics compare uint8 [..., S, S, 3] of one size, not {o.dtype} {o.shape} and {a.dtype} {a.shape}"
        )


def _patches(image: NDArray[np.generic], cells: int) -> NDArray[np.generic]:
    """`[..., H, W]` → `[..., cells, h, cells, w]`, the rest cut off."""
    height, width = (side // cells for side in image.shape[-2:])
    cut = image[..., : cells * height, : cells * width]
    return cut.reshape(*image.shape[:-2], cells, height, cells, width)


def _mean_over_patches(squares: NDArray[np.generic]) -> Values:
    """Equation 7 from the squared differences `[..., H, W, 3]`; the sums of a patch are exact integers."""
    height, width = (side // PATCH_GRID for side in squares.shape[-3:-1])
    # The channels of a pixel lie beside each other: a patch is as many rows of 3 * width numbers.
    rows = squares[..., : PATCH_GRID * width, :].reshape(*squares.shape[:-2], 3 * PATCH_GRID * width)
    mse = _patches(rows, PATCH_GRID).sum(axis=(-3, -1), dtype=np.int64) / (3 * height * width)
    return np.asarray(np.mean(1.0 / (1.0 + mse / 255**2), axis=(-2, -1)))


def _edges(images: Pixels) -> Values:
    edges = np.empty(images.shape[:-1])
    for place in np.ndindex(images.shape[:-3]):  # one by one, so that what is between stays in the processor's cache
        strength, image = edges[place], grey(images[place])
        np.abs(_differences(image), out=strength)
        strength += np.abs(_differences(image.T)).T
        strength /= strength.max() or 1.0
    return edges


def _differences(image: Values) -> Values:
    """Central differences along the first axis, one-sided at its ends: `numpy.gradient`, in less time."""
    found = np.empty_like(image)
    np.subtract(image[2:], image[:-2], out=found[1:-1])
    found[1:-1] /= 2.0
    found[0], found[-1] = image[1] - image[0], image[-1] - image[-2]
    return found


def _patch_sd(image: Pixels) -> Values:
    return np.asarray(_patches(grey(image), DETAIL_GRID).std(axis=(-3, -1)))
