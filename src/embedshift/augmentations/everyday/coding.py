"""Everyday changes that reduce data: JPEG, messengers and thumbnails."""

import cv2
import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations.everyday.change import Everyday
from embedshift.augmentations.ranges import Drawn, Range
from embedshift.augmentations.strength.coding import jpeg


def recompress(quality: int) -> Everyday:
    """Writes the image as JPEG. 75 is the default of libjpeg and Pillow; DISC21's queries go lower than 40."""
    return Everyday(
        lambda image, numbers, rng: jpeg(image, numbers["quality"], rng), {"quality": Range(quality, quality)}
    )


def messenger(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    return _enlarged(jpeg(_small(image, numbers), numbers["quality"], rng), image)


def thumbnail(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    return _enlarged(_small(image, numbers), image)


def _small(image: Pixels, numbers: Drawn) -> Pixels:
    """Shrinks to a longest side, or to half of an image that is not larger; each pixel is a mean."""
    longest, limit = max(image.shape[:2]), numbers["longest"]
    factor = limit / longest if longest > limit else 0.5
    size = [max(1, round(side * factor)) for side in image.shape[1::-1]]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _enlarged(small: Pixels, image: Pixels) -> Pixels:
    return np.asarray(cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


# Signal's standard quality (PushMediaConstraints of its app for Android); the "large" thumbnail of freedesktop.org.
MESSENGER = Everyday(messenger, {"longest": Range(1600, 1600), "quality": Range(70, 70)})
THUMBNAIL = Everyday(thumbnail, {"longest": Range(256, 256)})
