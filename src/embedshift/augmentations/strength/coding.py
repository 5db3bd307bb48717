"""Fewer bits and fewer pixels."""

import cv2
import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations.changes import Tones
from embedshift.augmentations.family import FAMILIES, Family


def jpeg(image: Pixels, quality: float, rng: np.random.Generator) -> Pixels:
    """Written as JPEG and read again."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]


FAMILIES.add("jpeg", Family("jpeg", "strength", Tones(jpeg), "quality", 100, (80, 50, 25, 10, 5), whole=True))
