"""Strength families of noise and blur."""

import cv2
import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations.changes import Tones
from embedshift.augmentations.family import Family, add


def noise(image: Pixels, deviation: float, rng: np.random.Generator) -> Pixels:
    """Adds normal noise to every pixel and channel; the standard deviation is a fraction of the range."""
    field = rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(image + field * np.float32(255.0 * deviation)), 0, 255).astype(np.uint8)


def blur(image: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Gaussian blur; `sigma` is a fraction of the side."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma * min(image.shape[:2])), np.uint8)


add(Family("noise", "strength", Tones(noise), "sd / range", 0, (0.03, 0.06, 0.12, 0.24, 0.48)))
add(Family("blur", "strength", Tones(blur), "sigma / side", 0, (0.0025, 0.005, 0.01, 0.02, 0.04)))
