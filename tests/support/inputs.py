"""Inputs of the metrics, fixed and varied: (name, arguments of the metric), the first two arguments batched."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from skimage import data as skimage_data
from sklearn.datasets import load_sample_image


def embedding_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 6, 32)).astype(np.float32)
    zero = np.zeros_like(u)
    yield "random", (u, v)
    yield "identical", (u, u)
    yield "opposite", (u, -2 * u)
    yield "almost equal", (u, u + np.float32(1e-4) * v)
    yield "one pair", (u[0], v[0])
    yield "one original, many views", (u[:1], v)
    yield "two leading dimensions", (u.reshape(2, 3, 32)[:, :1], v.reshape(2, 3, 32))
    yield "float16", (u.astype(np.float16), v.astype(np.float16))
    yield "float16 whose squares overflow it", (u.astype(np.float16) * 1000, v.astype(np.float16) * 1000)
    yield "very large and very small", (u * np.float32(1e30), v * np.float32(1e-30))
    yield "no direction in the original", (zero, v)
    yield "no direction in the view", (u, np.where(np.arange(6)[:, None] % 2, v, zero))
    yield "no direction at all", (zero, zero)
    yield "lists of integers", ([3, 4], [[4, 3], [-3, -4]])


def caption_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    for case, (u, v) in embedding_inputs():
        yield case, (u, v, np.random.default_rng(7).normal(size=np.shape(u)[-1]).tolist())


def class_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Vectors of very different lengths, which must not decide."""
    for case, (u, v) in embedding_inputs():
        classes = np.random.default_rng(8).normal(size=(5, np.shape(u)[-1])) * 10.0 ** np.arange(-2, 3)[:, None]
        yield case, (u, v, classes.tolist())


def attention_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    rng = np.random.default_rng(1)

    def maps(*shape: int) -> np.ndarray:
        weights = np.exp(2 * rng.normal(size=shape)).astype(np.float32)
        maps: np.ndarray = weights / weights.sum(axis=(-2, -1), keepdims=True)
        return maps

    flat = np.full((3, 7, 7), np.float32(1 / 49))
    peak = np.zeros((3, 7, 7), np.float32)
    peak[[0, 1, 2], [0, 3, 6], [6, 3, 2]] = 1
    yield "random", (maps(3, 7, 7), maps(3, 7, 7), 28)
    yield "identical", ((same := maps(2, 7, 7)), same, 28)
    yield "sides that do not divide", (maps(2, 7, 7), maps(2, 7, 7), 33)
    yield "not square", (maps(2, 3, 5), maps(2, 3, 5), 16)
    yield "one row", (maps(2, 1, 6), maps(2, 1, 6), 12)
    yield "one map", (maps(4, 4), maps(4, 4), 16)
    yield "one original, many views", (maps(1, 4, 4), maps(5, 4, 4), 16)
    yield "two leading dimensions", (maps(2, 1, 4, 4), maps(2, 3, 4, 4), 12)
    yield "single peaks", (peak, peak[::-1], 28)
    yield "constant in the original", (flat, maps(3, 7, 7), 28)
    yield "constant in the view", (maps(3, 7, 7), flat, 30)
    yield "constant in both", (flat, 3 * flat, 33)
    yield "one cell", (maps(2, 1, 1), maps(2, 1, 1), 8)
    yield "float16", (maps(2, 5, 5).astype(np.float16), maps(2, 5, 5).astype(np.float16), 15)
    yield "the size of the grid", (maps(2, 6, 6), maps(2, 6, 6), 6)


def zero_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Maps as distributions: also those that hold zeros, or nothing at all."""
    yield from attention_inputs()
    peak = np.zeros((2, 3, 3))
    peak[[0, 1], 1, [0, 2]] = 5
    yield "one cell against all", (peak, np.ones((2, 3, 3)), 9)
    yield "nothing in the original", (np.zeros((2, 3, 3)), np.ones((2, 3, 3)), 9)
    yield "nothing in the view", (peak, np.zeros((2, 3, 3)), 9)
    yield "equal but for their sums", (peak, 3 * peak, 9)


def aligned_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    rng = np.random.default_rng(6)
    a, b = rng.random((2, 4, 12, 12))
    hole, border, nothing = a.copy(), a.copy(), np.full_like(a, np.nan)
    hole[rng.random(a.shape) < 0.3] = np.nan
    border[..., :5] = np.nan
    inside = np.where(np.isnan(border), 9.0, a)  # equal where it counts
    yield "nothing outside", (a, b)
    yield "holes", (hole, b)
    yield "a border", (border, b)
    yield "all outside", (nothing, b)
    for pixels in (1, 14, 15):  # a tenth of the pixels is 14.4
        yield f"{pixels} pixels inside", (np.where(np.arange(144).reshape(12, 12) < pixels, a, np.nan), b)
    yield "some all outside", (np.where(np.arange(4)[:, None, None] % 2, a, np.nan), b)
    yield "equal inside", (border, inside)
    yield "another scale inside", (border, 0.2 + 0.1 * inside)
    yield "rounding of a constant", (0.5 + 1e-8 * a, b)
    yield "constant in the view", (hole, np.ones_like(b))
    yield "one pair", (border[0], b[0])
    yield "one original, many views", (hole[:1], b)


@functools.cache
def _photographs() -> tuple[np.ndarray, np.ndarray]:
    pictures: Any = skimage_data
    return pictures.astronaut(), load_sample_image("china.jpg")


def pixel_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    rng = np.random.default_rng(2)
    astronaut, china = _photographs()
    photos = np.stack([astronaut[100:148, 200:248], china[200:248, 300:348], china[0:48, 0:48]])
    random = rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    noisy = np.clip(photos + rng.normal(0, 60, photos.shape), 0, 255).astype(np.uint8)
    flat = np.full((32, 32, 3), 90, np.uint8)
    black, white = np.zeros_like(flat), np.full_like(flat, 255)
    checker = np.repeat((255 * (np.indices((32, 32)).sum(0) % 2)).astype(np.uint8)[..., None], 3, axis=-1)
    one_flat = random[0].copy()
    one_flat[8:12, 4:8] = (7, 200, 33)
    speck = flat.copy()
    speck[9, 9, 2] += 1
    yield "random", (random, random[::-1])
    yield "identical", (random, random)
    yield "photo and noise", (photos, noisy)
    yield "photo and mirror image", (photos, photos[:, :, ::-1])
    yield "photo and half the light", (photos, photos // 2)
    yield "photo and another photo", (photos, photos[[1, 2, 0]])
    yield "one original, many views", (photos[:1], noisy)
    yield "two leading dimensions", (random.reshape(2, 2, 32, 32, 3)[:, :1], random.reshape(2, 2, 32, 32, 3)[::-1])
    yield "one pair", (random[0], random[1])
    yield "sides that do not divide", (random[:2, :29, :31], random[2:, :29, :31])
    yield "not square", (china[None, 100:150, 100:185], china[None, 110:160, 90:175])
    yield "black and white", (black, white)
    yield "white and black", (white, black)
    yield "differences that wrap to 0 when squared", (black, np.full_like(black, 16))
    yield "differences below 0", (np.full_like(black, 3), np.full_like(black, 250))
    yield "checkerboards", (checker, 255 - checker)
    yield "flat original", (flat, random[0])
    yield "flat view", (random[0], flat)
    yield "flat both", (flat, flat + 1)
    yield "one flat patch in the original", (one_flat, random[0])
    yield "one flat patch in the view", (random[0], one_flat)
    yield "one pixel one level of blue", (speck, random[0])
    yield "from much to one pixel one level", (random[0], speck)


def aligned_pixel_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Originals of which a part is missing, in pieces and as a border; a tenth of 1024 pixels is 102.4."""
    rng = np.random.default_rng(12)
    for case, (o, a) in list(pixel_inputs())[8:]:  # of one or two pairs
        yield case, (o.astype(np.float64) if "black" in case else _without(o, _corner(*o.shape[-3:-1])), a)
    o, a = rng.integers(0, 256, (2, 2, 32, 32, 3), dtype=np.uint8)
    yield "holes", (_without(o, rng.random((2, 32, 32)) < 0.1), a)
    yield "few left of every patch", (_without(o, rng.random((2, 32, 32)) < 0.85), a)
    yield "equal inside", (_without(o, border := np.arange(32) < 13), np.where(border[:, None], 9, o).astype(np.uint8))
    for pixels in (0, 102, 103):
        yield f"{pixels} pixels inside", (_without(o, np.arange(1024).reshape(32, 32) >= pixels), a)
    yield "not whole levels", (_without(o + rng.random(o.shape), border), a)


def _corner(height: int, width: int) -> np.ndarray:
    corner: np.ndarray = np.add.outer(np.arange(height), np.arange(width)) < 20
    return corner


def _without(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
    left: np.ndarray = np.where(missing[..., None], np.nan, image)
    return left


def strength_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Pixels of all kinds, and views that are smaller than a window of 11 pixels, or as large."""
    yield from pixel_inputs()
    rng = np.random.default_rng(9)
    for side in (10, 11, 12):
        yield f"{side} pixels", tuple(rng.integers(0, 256, (2, 2, side, side, 3), dtype=np.uint8))


def place_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Places that pixels come from: some outside of the image, on its rim, and nowhere."""
    rng = np.random.default_rng(10)
    grid = np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0)), axis=2).astype(np.float32)
    outside = grid + 12
    rim = np.where(np.arange(12)[:, None, None] % 2, grid, np.float32(-0.5))
    yield "shifted", (grid + np.array([2, 0], np.float32),)
    yield "as it was", (grid,)
    yield "each pixel by itself", ((grid + rng.normal(0, 3, grid.shape)).astype(np.float32),)
    yield "half a pixel outside", (rim,)
    yield "all outside", (outside,)
    yield "nowhere", (np.where(rng.random(grid.shape) < 0.3, np.float32(np.inf), grid),)
    yield "several", (np.stack([grid, grid + 1, outside, grid[::-1]]),)
    yield "two leading dimensions", (np.stack([grid, grid + 1, outside, grid[:, ::-1]]).reshape(2, 2, 12, 12, 2),)


def cover_inputs() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Pixels that are covered."""
    rng = np.random.default_rng(11)
    yield "some", (rng.random((9, 9)) < 0.2,)
    yield "none and all", (np.stack([np.zeros((8, 8), bool), np.ones((8, 8), bool)]),)
    yield "two leading dimensions", (rng.random((2, 3, 8, 8)) < 0.5,)


INPUTS = {
    "cosine_similarity": embedding_inputs,
    "l2_distance": embedding_inputs,
    "text_alignment_shift": caption_inputs,
    "zero_shot_flip": class_inputs,
    "zero_shot_margin_shift": class_inputs,
    "attention_similarity": attention_inputs,
    "rollout_similarity": attention_inputs,
    "attention_entropy_rise": zero_inputs,
    "attention_divergence": zero_inputs,
    "aligned_attention_similarity": aligned_inputs,
    "patch_similarity": pixel_inputs,
    "patch_similarity_uint8": pixel_inputs,
    "edge_preservation": pixel_inputs,
    "detail_preservation": pixel_inputs,
    **dict.fromkeys(
        ("aligned_patch_similarity", "aligned_edge_preservation", "aligned_detail_preservation"), aligned_pixel_inputs
    ),
    "rms": strength_inputs,
    "dissimilarity": strength_inputs,
    "displacement": place_inputs,
    "hidden": cover_inputs,
}
# How many of the last dimensions belong to one thing that is measured.
DEPTH = {
    embedding_inputs: 1,
    caption_inputs: 1,
    class_inputs: 1,
    attention_inputs: 2,
    zero_inputs: 2,
    aligned_inputs: 2,
    pixel_inputs: 3,
    aligned_pixel_inputs: 3,
    strength_inputs: 3,
    place_inputs: 3,
    cover_inputs: 2,
}
# Of one argument: what is measured is no pair.
ALONE = (place_inputs, cover_inputs)
