"""Tries augmentations on a generated image, to find faults before a long run."""

import cv2
import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations.augmentation import Augmentation
from embedshift.errors import EmbedshiftError

# How often an augmentation may fail before it counts as one that always fails.
TRIES = 10


def made_image(side: int) -> Pixels:
    """Returns a smooth image of many colours, uint8 `[side, side, 3]`."""
    colours = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(colours, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)


def failure(augmentation: Augmentation, side: int) -> EmbedshiftError | None:
    """Returns why an augmentation always fails on a generated image of `side` pixels; None if it does not."""
    image, first = made_image(side), None
    for seed in range(TRIES):
        try:
            augmentation.draw(image, seed)
        except EmbedshiftError as error:
            first = first or error
        else:
            return None
    return first
