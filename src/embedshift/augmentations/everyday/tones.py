"""Everyday changes of tones and colours, as photo programs make them."""

import cv2
import numpy as np

from embedshift.arrays import Pixels, Values
from embedshift.augmentations.everyday.change import Everyday
from embedshift.augmentations.ranges import Drawn, Range
from embedshift.augmentations.strength.tones import GREY

LEVELS = np.arange(256.0)


def brightness(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    return mapped(image, LEVELS * (1 + numbers["change"]))


def contrast(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    mean = float(np.dot(GREY[0], cv2.mean(image)[:3]))
    return mapped(image, mean + (LEVELS - mean) * (1 + numbers["change"]))


def warm_cold(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    gains = 1 + numbers["red"] * np.array([1.0, 0.0, -1.0])
    return mapped(image, LEVELS[:, None] * gains)


def sharpen(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    """Adds a multiple of what a Gaussian blur removes (an unsharp mask)."""
    amount, sigma = numbers["amount"], numbers["radius"] * max(image.shape[:2])
    blurred = cv2.GaussianBlur(image, (0, 0), sigma)
    return np.asarray(cv2.addWeighted(image, 1 + amount, blurred, -amount, 0), np.uint8)


def greyscale(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def mapped(image: Pixels, curve: Values) -> Pixels:
    """Replaces every level by the value of a curve `[256]`, or of one a channel, `[256, 3]`."""
    table = np.clip(np.rint(curve), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table if table.ndim == 1 else table[:, None]), np.uint8)


BRIGHTNESS = Everyday(brightness, {"change": Range(-0.12, 0.12)})
CONTRAST = Everyday(contrast, {"change": Range(-0.12, 0.12)})
WARM_COLD = Everyday(warm_cold, {"red": Range(-0.12, 0.12)})
SHARPEN = Everyday(sharpen, {"amount": Range(0.5, 1.5), "radius": Range(0.002, 0.002)})
GREYSCALE = Everyday(greyscale)
