"""Strength families of brightness and colour."""

import cv2
import numpy as np

from embedshift.arrays import Floats, Pixels, Values
from embedshift.augmentations.changes import Tones
from embedshift.augmentations.family import Family, add
from embedshift.augmentations.strength.draws import signs

# Rec. 601: weights of red, green and blue in a grey level.
GREY = np.array([[0.299, 0.587, 0.114]])


def color_jitter(image: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    """Changes brightness, contrast, saturation and hue, in this order, each up or down."""
    brightness, contrast, saturation, turn = signs(rng, 4) * amount
    bright = np.minimum(image * np.float32((1 + brightness) / 255), 1)
    mean = np.float32((GREY[0] * cv2.mean(bright)[:3]).sum())
    harder = np.clip(mean + (bright - mean) * np.float32(1 + contrast), 0, 1)
    return _pixels(_turned(np.clip(_saturated(harder, 1 + saturation), 0, 1), 360 * turn))


def brightness_contrast(image: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    """Multiplies contrast around mid-grey by 1 ± amount, and adds ± amount of the range to the brightness."""
    contrast, brightness = signs(rng, 2) * amount
    return _mapped(image, 0.5 + (np.arange(256) / 255 - 0.5) * (1 + contrast) + brightness)


def grey(image: Pixels, mix: float, rng: np.random.Generator) -> Pixels:
    """Mixes the image with its grey version; 1 is fully grey."""
    return _pixels(_saturated(image * np.float32(1 / 255), 1 - mix))


def gamma(image: Pixels, power: float, rng: np.random.Generator) -> Pixels:
    """Raises levels, as fractions of the range, to the power g or 1/g. One sign is drawn: darker or brighter."""
    return _mapped(image, (np.arange(256) / 255) ** power ** signs(rng, 1)[0])


def hue(image: Pixels, degrees: float, rng: np.random.Generator) -> Pixels:
    """Turns the hue (of HSV) by `degrees` in either direction. One sign is drawn."""
    return _pixels(_turned(image * np.float32(1 / 255), signs(rng, 1)[0] * degrees))


def _saturated(levels: Floats, factor: float) -> Floats:
    """Scales the distance from each pixel's grey level by a factor below or above 1."""
    return np.asarray(cv2.transform(levels, factor * np.eye(3) + (1 - factor) * GREY), np.float32)


def _turned(levels: Floats, degrees: float) -> Floats:
    """Turns the hue; levels are in [0, 1]."""
    turned = cv2.cvtColor(levels, cv2.COLOR_RGB2HSV)
    turned[..., 0] = (turned[..., 0] + np.float32(degrees)) % 360
    return np.asarray(cv2.cvtColor(turned, cv2.COLOR_HSV2RGB), np.float32)


def _pixels(levels: Floats | Values) -> Pixels:
    """Converts levels in [0, 1] to uint8."""
    return np.clip(np.rint(levels * 255), 0, 255).astype(np.uint8)


def _mapped(image: Pixels, curve: Values) -> Pixels:
    """Replaces every level by the value of a curve `[256]` in [0, 1]."""
    return np.asarray(cv2.LUT(image, _pixels(curve)), np.uint8)


add(Family("color_jitter", "strength", Tones(color_jitter), "±", 0, (0.05, 0.1, 0.2, 0.3, 0.4)))
add(Family("brightness_contrast", "strength", Tones(brightness_contrast), "±", 0, (0.1, 0.2, 0.3, 0.4, 0.5)))
add(Family("grey", "strength", Tones(grey), "mix", 0, (0.2, 0.4, 0.6, 0.8, 1)))
add(Family("gamma", "strength", Tones(gamma), "g or 1/g", 1, (1.25, 1.5, 2, 3, 4)))
add(Family("hue", "strength", Tones(hue), "degrees", 0, (10, 20, 45, 90, 180)))
