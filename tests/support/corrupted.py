"""What tests of the corruptions relative shift: a photo, one view of it, and how far two views lie apart."""

import functools

import cv2
import numpy as np
from skimage import data

from embedshift.arrays import Pixels
from embedshift.augmentations.family import FAMILIES

SEVERITIES = (1, 2, 3, 4, 5)


@functools.cache
def photo(name: str = "astronaut", side: int = 224) -> Pixels:
    """A photo of scikit-image, with black, white and grey pixels in a corner."""
    image = np.asarray(cv2.resize(getattr(data, name)(), (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    image[:2, :3] = [[[0, 0, 0], [255, 255, 255], [90, 90, 90]]]
    return image


def view_of(image: Pixels, name: str, severity: int, seed: int = 0) -> Pixels:
    return FAMILIES[name].at(severity, severity).draw(image, seed)


def apart(view: Pixels, expected: np.ndarray) -> np.ndarray:
    """Distance of each value from the expected one, whose fraction is dropped, in grey levels."""
    return np.asarray(np.abs(view.astype(int) - np.clip(expected, 0, 255).astype(np.uint8)))


def rms(view: Pixels, image: Pixels) -> float:
    return float(np.sqrt(((view.astype(float) - image) ** 2).mean()))
