"""Strength families that cover a part of the image; each stronger level covers everything that weaker ones cover."""

import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations.changes import Cover, Mask
from embedshift.augmentations.family import Family, add

# The paper's dropout has six to eight; at a fraction of 0.04 they have its size: 16 pixels of 224.
HOLES = 8


def holes(side: int, fraction: float, rng: np.random.Generator) -> Mask:
    """Returns eight squares of one size that cover a fraction of the pixels, exact to the pixel; centres are drawn."""
    middles = np.arange(side) + 0.5
    across, down = (np.abs(middles - each[:, None]) for each in rng.uniform(0, side, (2, HOLES)))
    away = np.maximum(across[:, None, :], down[:, :, None]).min(axis=0)
    hidden = np.zeros(side * side, bool)
    hidden[np.argsort(away, axis=None, kind="stable")[: round(fraction * side * side)]] = True
    return hidden.reshape(side, side)


def square(side: int, fraction: float, rng: np.random.Generator) -> Mask:
    """Returns one square inside the image that covers a fraction of the pixels, to the nearest whole side."""
    width = round(side * np.sqrt(fraction))
    left, top = np.floor(rng.random(2) * (side - width + 1)).astype(int)
    hidden = np.zeros((side, side), bool)
    hidden[top : top + width, left : left + width] = True
    return hidden


def grains(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Returns random levels for each pixel and channel."""
    return rng.integers(0, 256, image.shape, dtype=np.uint8)


def mid_grey(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Returns the middle of the range."""
    return np.full_like(image, 128)


add(Family("coarse_dropout", "strength", Cover(holes, grains), "hidden", 0, (0.025, 0.05, 0.1, 0.2, 0.4)))
add(Family("occlusion", "strength", Cover(square, mid_grey), "hidden", 0, (0.05, 0.1, 0.2, 0.4, 0.6)))
