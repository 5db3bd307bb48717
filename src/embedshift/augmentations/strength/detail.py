"""Strength families that lose detail: JPEG compression, fewer pixels, noise and blur."""

from typing import Any

import cv2
import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations.changes import Tones
from embedshift.augmentations.family import Family, add


def jpeg_bytes(image: Pixels, quality: float) -> Any:
    """Returns the image's bytes as JPEG, uint8 `[N]`."""
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]


def jpeg(image: Pixels, quality: float, rng: np.random.Generator) -> Pixels:
    """Writes the image as JPEG and reads it again."""
    return np.asarray(cv2.imdecode(jpeg_bytes(image, quality), cv2.IMREAD_COLOR), np.uint8)[..., ::-1]


def downscale(image: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """Shrinks by a factor, each pixel the mean of those that it replaces, then enlarges bilinearly to the old size."""
    height, width = image.shape[:2]
    small = max(1, round(factor * width)), max(1, round(factor * height))
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def noise(image: Pixels, deviation: float, rng: np.random.Generator) -> Pixels:
    """Adds normal noise to every pixel and channel; the standard deviation is a fraction of the range."""
    field = rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(image + field * np.float32(255.0 * deviation)), 0, 255).astype(np.uint8)


def blur(image: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Gaussian blur; `sigma` is a fraction of the side."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma * min(image.shape[:2])), np.uint8)


add(Family("jpeg", "strength", Tones(jpeg), "quality", 100, (80, 50, 25, 10, 5), integer=True))
add(Family("downscale", "strength", Tones(downscale), "factor", 1, (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32)))
add(Family("noise", "strength", Tones(noise), "sd / range", 0, (0.03, 0.06, 0.12, 0.24, 0.48)))
add(Family("blur", "strength", Tones(blur), "sigma / side", 0, (0.0025, 0.005, 0.01, 0.02, 0.04)))
