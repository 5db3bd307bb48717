"""Tries augmentations on a generated image, to find faults before a long run."""

import cv2
import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations.augmentation import Augmentation
from embedshift.augmentations.changes import Sides, sides
from embedshift.errors import EmbedshiftError

# How often an augmentation may fail before it counts as one that always fails.
TRIES = 10


def trial_image(of: Sides) -> Pixels:
    """Returns a smooth image of many colours."""
    colours = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(colours, sides(of)[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def failure(augmentation: Augmentation, of: Sides) -> EmbedshiftError | None:
    """Returns why an augmentation always fails on a generated image of a side, or of a file's height and width."""
    image, first, options = trial_image(of), None, {} if isinstance(of, int) else {"any_size": True}
    for seed in range(TRIES):
        try:
            augmentation.draw(image, seed, **options)
        except EmbedshiftError as error:
            first = first or error
        else:
            return None
    return first
