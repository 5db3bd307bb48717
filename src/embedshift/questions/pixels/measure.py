"""Metrics of pixels: how much of the original an augmentation preserves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Pixels, Values
from embedshift.pipeline.measure import Measure, StudyPlan
from embedshift.registry import METRICS, metric
from embedshift.registry.extras import cv2
from embedshift.statistics.maps import LEAST_OVERLAP

if TYPE_CHECKING:
    from embedshift.augmentations.views import Canvas
    from embedshift.encoders.base import EncoderOutput
    from embedshift.sources import ImageRef


def compared(o: Values, a: Values) -> tuple[Values, Values]:
    """Returns originals and views `[..., S, S, 3]`, both NaN where the original is or too little can be compared."""
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
    """Cuts `[..., H, W]` to `[..., cells, cells, pixels]`, and their means; NaN where under a tenth can be compared."""
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


PATCH_GRID = 4
DETAIL_GRID = 8
# In grey levels. Rounding alone gives a uniform patch 8e-6 in float32; the least non-uniform patch has 4e-3.
UNIFORM = 1e-3
# Thousandths of grey are integers up to 255,000: in float32 they and the sums of a few are exact.
THOUSANDTHS = np.array([[299.0, 587.0, 114.0]], np.float32)


@metric("patch similarity", "pixels", no_change=1.0, low=0.5, high=1.0, higher_is_better=True)
def patch_similarity(o: Pixels, a: Pixels) -> Values:
    r"""Similarity of the pixels, patch by patch (the paper's equations 7 and 8).

    .. math:: \mathrm{patch} = \frac{1}{16} \sum_{k=1}^{16} \frac{1}{1 + \mathrm{MSE}_k / 255^2}

    over a 4 x 4 grid by integer division (remaining pixels at the right and the bottom are not used), on RGB, in
    floating point. The authors' scripts subtract and square in uint8; see `patch_similarity_uint8`.

    Args:
        o: Original views, uint8 `[..., S, S, 3]`.
        a: Augmented views, uint8 `[..., S, S, 3]`.

    Returns:
        float64 `[...]` in [0.5, 1]; 1 = no change.

    Raises:
        ValueError: The views have other dtypes or shapes, or differ in size.

    Example:
        >>> black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
        >>> patch_similarity(black, white).item()
        0.5
    """
    _require_views(o, a)
    o, a = np.broadcast_arrays(o, a)
    height, width = (side // PATCH_GRID for side in o.shape[-3:-1])
    squares = np.empty((*o.shape[:-3], PATCH_GRID, PATCH_GRID))
    for *view, row, column in np.ndindex(squares.shape):
        patch = (*view, slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width))
        squares[*view, row, column] = cv2.norm(cv2.absdiff(o[patch], a[patch]), cv2.NORM_L2SQR)
    return _mean_over_patches(squares / (3 * height * width))


@metric("patch similarity (uint8)", "pixels", no_change=1.0, low=0.996, high=1.0, higher_is_better=True, optional=True)
def patch_similarity_uint8(o: Pixels, a: Pixels) -> Values:
    """Patch similarity with the integer arithmetic of the authors' scripts, for comparison.

    The difference and its square wrap at 256, so that no patch can differ by more than 255 grey levels squared and the
    value cannot fall below 1 / (1 + 255 / 255**2) = 0.9961 for any images.

    Args:
        o: Original views, uint8 `[..., S, S, 3]`.
        a: Augmented views, uint8 `[..., S, S, 3]`.

    Returns:
        float64 `[...]` in [0.9961, 1]; 1 = no change, or a change that wraps to 0.

    Raises:
        ValueError: The views have other dtypes or shapes, or differ in size.

    Example:
        >>> black, sixteen = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 16, np.uint8)
        >>> patch_similarity_uint8(black, sixteen).item()
        1.0
    """
    _require_views(o, a)
    difference = o - a
    squares = difference * difference
    height, width = (side // PATCH_GRID for side in squares.shape[-3:-1])
    cut = squares[..., : PATCH_GRID * height, : PATCH_GRID * width, :]
    patches = cut.reshape(*squares.shape[:-3], PATCH_GRID, height, PATCH_GRID, width, 3)
    return _mean_over_patches(patches.mean(axis=(-4, -2, -1)))


@metric("edge preservation", "pixels", no_change=1.0, low=0.0, high=1.0, higher_is_better=True)
def edge_preservation(o: Pixels, a: Pixels) -> Values:
    r"""Similarity of the edge maps (the paper's equations 9 to 11).

    .. math:: \mathrm{edge} = 1 - \frac{1}{mn} \sum_{i,j} |E_{ij} - E'_{ij}|, \quad
              E = \frac{|G_x(I)| + |G_y(I)|}{\max(|G_x(I)| + |G_y(I)|)}

    with central differences on grey (`numpy.gradient`); a flat image has E = 0.

    Args:
        o: Original views, uint8 `[..., S, S, 3]`.
        a: Augmented views, uint8 `[..., S, S, 3]`.

    Returns:
        float64 `[...]` in [0, 1]; 1 = no change.

    Raises:
        ValueError: The views have other dtypes or shapes, or differ in size.

    Example:
        >>> flat = np.full((8, 8, 3), 9, np.uint8)
        >>> edge_preservation(flat, flat + 1).item()
        1.0
    """
    _require_views(o, a)
    views = np.broadcast_shapes(o.shape[:-3], a.shape[:-3])
    before = np.reshape([_image_edges(o[view]) for view in np.ndindex(o.shape[:-3])], o.shape[:-1])
    before, a = np.broadcast_to(before, (*views, *o.shape[-3:-1])), np.broadcast_to(a, (*views, *a.shape[-3:]))
    # One by one, for the processor's cache. OpenCV's `norm` of two arrays would end the process if a signal came.
    sums = [cv2.norm(cv2.absdiff(before[view], _image_edges(a[view])), cv2.NORM_L1) for view in np.ndindex(views)]
    return np.asarray(1.0 - np.reshape(sums, views) / (o.shape[-3] * o.shape[-2]))


@metric("detail preservation", "pixels", no_change=1.0, low=0.0, high=1.0, higher_is_better=True)
def detail_preservation(o: Pixels, a: Pixels) -> Values:
    r"""Similarity of the local contrast (the paper's equation 12).

    .. math:: \mathrm{detail} = \frac{1}{N} \sum_{k} \exp(-|\log \frac{\sigma(P'_k)}{\sigma(P_k)}|)

    over the N patches of an 8 x 8 grid on grey that are not uniform in the original (standard deviation of 1e-3 grey
    levels or more). A patch that the augmentation makes uniform counts 0.

    Args:
        o: Original views, uint8 `[..., S, S, 3]`.
        a: Augmented views, uint8 `[..., S, S, 3]`.

    Returns:
        float64 `[...]` in [0, 1]; 1 = no change; NaN if the original has no such patch.

    Raises:
        ValueError: The views have other dtypes or shapes, or differ in size.

    Example:
        >>> flat = np.full((8, 8, 3), 9, np.uint8)
        >>> detail_preservation(flat, flat).item()
        nan
    """
    _require_views(o, a)
    return _kept_detail(*np.broadcast_arrays(_patch_sd(o), _patch_sd(a)))


ALIGNED: dict[str, Any] = {"no_change": 1.0, "high": 1.0, "higher_is_better": True, "optional": True}


@metric("aligned patch similarity", "aligned_pixels", low=0.5, **ALIGNED)
def aligned_patch_similarity(o: Values, a: Values) -> Values:
    """Patch similarity, after moving the original in the same way as the view.

    What the view does not show of the original is not compared. A patch counts if a tenth of it is compared.

    Args:
        o: Originals, moved, NaN where the view shows nothing of them, `[..., S, S, 3]`.
        a: Augmented views, `[..., S, S, 3]`.

    Returns:
        float64 `[...]` in [0.5, 1]; 1 = only motion; NaN if less than a tenth of the view can be compared.

    Example:
        >>> half = np.where(np.arange(8)[:, None, None] < 4, np.zeros((8, 8, 3)), np.nan)
        >>> aligned_patch_similarity(half, np.full((8, 8, 3), 255)).item()
        0.5
    """
    before, after = compared(o, a)
    _, mse = in_patches(((before - after) ** 2).mean(axis=-1), PATCH_GRID)
    return mean_of_present(1.0 / (1.0 + mse / 255**2), (-2, -1))


@metric("aligned edge preservation", "aligned_pixels", low=0.0, **ALIGNED)
def aligned_edge_preservation(o: Values, a: Values) -> Values:
    """Edge preservation, after moving the original in the same way as the view.

    Pixels count that are compared together with their neighbours. Arguments, NaN: as in `aligned_patch_similarity`.

    Returns:
        float64 `[...]` in [0, 1]; 1 = only motion.

    Example:
        >>> aligned_edge_preservation(np.full((8, 8, 3), 9.0), np.full((8, 8, 3), 7)).item()
        1.0
    """
    before, after = (edge_strength(part @ THOUSANDTHS[0]) for part in compared(o, a))
    return np.asarray(1.0 - mean_of_present(np.abs(before - after), (-2, -1)))


@metric("aligned detail preservation", "aligned_pixels", low=0.0, **ALIGNED)
def aligned_detail_preservation(o: Values, a: Values) -> Values:
    """Detail preservation, after moving the original in the same way as the view.

    Patches, arguments and NaN: as in `aligned_patch_similarity` and `detail_preservation`.

    Returns:
        float64 `[...]` in [0, 1]; 1 = only motion.

    Example:
        >>> aligned_detail_preservation(np.full((8, 8, 3), 9.0), np.full((8, 8, 3), 7)).item()
        nan
    """
    parts = [in_patches(part @ THOUSANDTHS[0], DETAIL_GRID) for part in compared(o, a)]
    variances = (mean_of_present((patches - means[..., None]) ** 2, (-1,)) for patches, means in parts)
    return _kept_detail(*(np.sqrt(variance) / 1000.0 for variance in variances))


class MEASURE(Measure):
    def of_pixels(self, views: Pixels) -> dict[str, Values]:
        return {name: METRICS[name].function(views[:1], views[1:]) for name in self.needing("pixels")}

    def of_seeds(self, views: Pixels, seeds: Sequence[int], plan: StudyPlan, canvas: "Canvas") -> dict[str, Values]:
        """Compares views with the original, moved and rounded alike; OpenCV places float32 as exactly as uint8."""
        names = self.needing("aligned_pixels")
        drawn = zip([*plan.suite] * plan.config.draws, seeds, views[1:], strict=True) if names else ()
        original, rows = views[0].astype(np.float32), list[list[Values]]()
        for augmentation, seed, view in drawn:
            moved = np.rint(canvas.warp(augmentation, original, seed))
            rows.append([METRICS[name].function(moved, view) for name in names])
        return dict(zip(names, np.transpose(rows), strict=True))

    def of_pair(
        self, views: Pixels, output: "EncoderOutput", samples: "Sequence[ImageRef]", plan: StudyPlan
    ) -> dict[str, float]:
        return {name: METRICS[name].function(*views).item() for name in self.metrics}


def grey(image: Pixels) -> NDArray[np.float32]:
    """Returns 299 R + 587 G + 114 B, in thousandths of a level, uint8 `[H, W, 3]` → float32 `[H, W]` in [0, 255000]."""
    return np.asarray(cv2.transform(image.astype(np.float32), THOUSANDTHS))


def _require_views(o: Pixels, a: Pixels) -> None:
    """Raises ValueError for arrays that would give a wrong number instead of an error."""
    if o.dtype != np.uint8 or a.dtype != np.uint8 or o.shape[-3:] != a.shape[-3:] or o.ndim < 3 or o.shape[-1] != 3:
        raise ValueError(
            f"pixel metrics compare uint8 [..., S, S, 3] of one size, not {o.dtype} {o.shape} and {a.dtype} {a.shape}"
        )


def _kept_detail(before: Values, after: Values) -> Values:
    valid = before >= UNIFORM
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.minimum(after / before, before / after)  # exp(-|ln r|) = min(r, 1 / r)
        ratio = np.where(valid & (after >= UNIFORM), ratio, 0.0)
        return np.asarray(ratio.sum(axis=(-2, -1)) / valid.sum(axis=(-2, -1)))


def _mean_over_patches(mse: Values) -> Values:
    return np.asarray(np.mean(1.0 / (1.0 + mse / 255**2), axis=(-2, -1)))


def _image_edges(image: Pixels) -> Values:
    # Twice the gradient of `numpy.gradient`, which the ratio to the largest does not show: the difference of both
    # neighbours, and at the rim, where one of them is missing, of the pixel itself and the other.
    levels = cv2.copyMakeBorder(grey(image), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    strength: NDArray[Any] = cv2.absdiff(levels[2:, 1:-1], levels[:-2, 1:-1])
    across: NDArray[Any] = cv2.absdiff(levels[1:-1, 2:], levels[1:-1, :-2])
    strength[[0, -1]] *= 2.0
    across[:, [0, -1]] *= 2.0
    strength += across
    return np.asarray(np.divide(strength, strength.max() or 1.0, dtype=np.float64))


def _patch_sd(images: Pixels) -> Values:
    grid, (height, width) = (DETAIL_GRID, DETAIL_GRID), (side // DETAIL_GRID for side in images.shape[-3:-1])
    variances = np.full((*images.shape[:-3], *grid), np.nan)
    for view in np.ndindex(images.shape[:-3] if height and width else 0):  # a smaller image has no patches
        levels = grey(images[view][: DETAIL_GRID * height, : DETAIL_GRID * width]).astype(np.float64)
        mean = cv2.resize(levels, grid, interpolation=cv2.INTER_AREA)
        levels.reshape(DETAIL_GRID, height, DETAIL_GRID, width)[...] -= mean[:, None, :, None]
        levels *= levels
        variances[view] = cv2.resize(levels, grid, interpolation=cv2.INTER_AREA)
    return np.sqrt(variances) / 1000.0
