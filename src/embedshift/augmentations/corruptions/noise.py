"""Noise corruptions, drawn independently for each value of each pixel."""

import numpy as np

from embedshift.arrays import Floats, Pixels
from embedshift.augmentations.changes import Tones
from embedshift.augmentations.corruptions.standard import add, at, to_pixels

# The published constants c of the five severities.
GAUSSIAN = (0.08, 0.12, 0.18, 0.26, 0.38)
SHOT = (60, 25, 12, 5, 3)
IMPULSE = (0.03, 0.06, 0.09, 0.17, 0.27)
SPECKLE = (0.15, 0.2, 0.35, 0.45, 0.6)


def gaussian_noise(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Gaussian noise, as from a sensor in the dark: x + N(0, c), x in [0, 1]."""
    c = at(severity, *GAUSSIAN)
    return to_pixels(image + np.float32(255 * c) * _normal(image, rng))


def shot_noise(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Shot noise, as from counted photons: Poisson(c x) / c."""
    c = at(severity, *SHOT)
    return to_pixels(rng.poisson(image * (c / 255)) * (255 / c))


def impulse_noise(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Salt and pepper: a fraction c of all values becomes 0 or 255 with equal probability."""
    c = at(severity, *IMPULSE)
    chance = rng.random(image.shape, np.float32)
    return np.where(chance < c / 2, np.uint8(255), np.where(chance >= 1 - c / 2, np.uint8(0), image))


def speckle_noise(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Speckle noise, which grows with brightness: x + x N(0, c)."""
    c = at(severity, *SPECKLE)
    return to_pixels(image * (1 + np.float32(c) * _normal(image, rng)))


def _normal(image: Pixels, rng: np.random.Generator) -> Floats:
    return rng.standard_normal(image.shape, np.float32)


add("gaussian_noise", Tones(gaussian_noise), c=GAUSSIAN)
add("shot_noise", Tones(shot_noise), c=SHOT)
add("impulse_noise", Tones(impulse_noise), c=IMPULSE)
add("speckle_noise", Tones(speckle_noise), c=SPECKLE)
