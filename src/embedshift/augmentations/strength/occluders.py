"""Strength families that cover a part of the image; each stronger level covers everything that weaker ones cover."""

import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations.changes import Cover, Mask, Sides, sides
from embedshift.augmentations.family import Family, add

# The paper's dropout has six to eight; at a fraction of 0.04 they have its size: 16 pixels of 224.
HOLES = 8


def holes(of: Sides, fraction: float, rng: np.random.Generator) -> Mask:
    """Returns eight squares of one size that cover a fraction of the pixels, exact to the pixel; centres are drawn."""
    drawn = zip(sides(of)[::-1], rng.random((2, HOLES)), strict=True)
    across, down = (np.abs(np.arange(length) + 0.5 - length * part[:, None]) for length, part in drawn)
    distance = np.full(sides(of), np.inf)
    for column, row in zip(across, down, strict=True):
        np.minimum(distance, np.maximum(column, row[:, None]), out=distance)
    hidden = np.zeros(distance.size, bool)
    hidden[np.argsort(distance, axis=None, kind="stable")[: round(fraction * distance.size)]] = True
    return hidden.reshape(distance.shape)


def rectangle(of: Sides, fraction: float, rng: np.random.Generator) -> Mask:
    """Returns one part of the image's shape inside it that covers a fraction of the pixels, to whole pixels."""
    hidden = np.zeros(sides(of), bool)
    height, width = (round(length * np.sqrt(fraction)) for length in hidden.shape)
    room = np.subtract(hidden.shape, (height, width))[::-1] + 1
    left, top = np.floor(rng.random(2) * room).astype(int)
    hidden[top : top + height, left : left + width] = True
    return hidden


def grains(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Returns random levels for each pixel and channel."""
    return rng.integers(0, 256, image.shape, dtype=np.uint8)


def mid_grey(image: Pixels, rng: np.random.Generator) -> Pixels:
    return np.full_like(image, 128)


add(Family("coarse_dropout", "strength", Cover(holes, grains), "hidden", 0, (0.025, 0.05, 0.1, 0.2, 0.4)))
add(Family("occlusion", "strength", Cover(rectangle, mid_grey), "hidden", 0, (0.05, 0.1, 0.2, 0.4, 0.6)))
