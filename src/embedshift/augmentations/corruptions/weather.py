"""Weather corruptions: snow, fog, brightness and spatter."""

import cv2
import numpy as np

from embedshift.arrays import Floats, Pixels, Values
from embedshift.augmentations.changes import Tones, size_of
from embedshift.augmentations.corruptions import (
    SIDE,
    add,
    at,
    enlargement,
    gaussian_blurred,
    motion_blurred,
    motion_kernel,
    to_pixels,
    to_side,
)

# What brightness adds at the five severities.
LIGHT = (0.1, 0.2, 0.3, 0.4, 0.5)
WATER, MUD = (175, 238, 238), (63, 42, 20)


def snow(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Falling flakes over a whitened image."""
    kept = np.float32(at(severity, 0.8, 0.7, 0.7, 0.65, 0.55))
    falling = to_side(_falling(severity, rng), size_of(image))
    colours = image.astype(np.float32)
    light = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)[..., None] * np.float32(1.5) + np.float32(127.5)
    white = kept * colours + (1 - kept) * np.maximum(colours, light)
    return to_pixels(white + (falling + falling[::-1, ::-1])[..., None])


def _falling(severity: float, rng: np.random.Generator) -> Floats:
    """Returns flakes in grey levels, float32 `[224, 224]`: enlarged noise without dark values, dragged downwards."""
    mean, sd, size, least, radius, sigma = at(
        severity,
        (0.1, 0.3, 3.0, 0.5, 10, 4),
        (0.2, 0.3, 2.0, 0.5, 12, 4),
        (0.55, 0.3, 4.0, 0.9, 12, 8),
        (0.55, 0.3, 4.5, 0.85, 12, 8),
        (0.55, 0.3, 2.5, 0.85, 12, 12),
    )
    kernel, anchor = motion_kernel(radius, sigma, rng.uniform(-135, -45))
    noise = np.float32(mean) + np.float32(sd) * rng.standard_normal((SIDE, SIDE), np.float32)
    flakes = _enlarged(noise, size)
    flakes[flakes < least] = 0
    return np.asarray(np.rint(motion_blurred(to_pixels(255 * flakes), kernel, anchor)), np.float32)


def _enlarged(noise: Floats, factor: float) -> Values:
    """As `enlarged`, in float64: OpenCV 4 would round places to 1/32 of a pixel, and show other flakes."""
    step, start = enlargement(len(noise), factor)
    positions = start + step * np.arange(len(noise))
    before = positions.astype(int)
    after = np.minimum(before + 1, len(noise) - 1)
    part = positions - before
    rows = noise[before] * (1 - part[:, None]) + noise[after] * part[:, None]
    return np.asarray(rows[:, before] * (1 - part) + rows[:, after] * part)


def fog(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Fog over the image: (x + c plasma) m / (m + c), where m is the image's largest value."""
    density, decay = at(severity, (1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
    clouds = to_side(plasma(decay, rng)[:SIDE, :SIDE], size_of(image))
    brightest = float(image.max())
    fraction = brightest / (brightest + 255 * density)
    return to_pixels((image + np.float32(255 * density) * clouds[..., None]) * np.float32(fraction))


def plasma(decay: float, rng: np.random.Generator, side: int = 256) -> Floats:
    """Returns a seamless plasma fractal by the diamond-square algorithm: float32 `[side, side]` from 0 to 1."""
    heights = np.zeros((side, side), np.float32)
    mesh, wobble = side, np.float32(1)
    while mesh > 1:
        half = mesh // 2
        corners, centres = heights[::mesh, ::mesh], heights[half::mesh, half::mesh]

        def between(four: Floats, wobble: np.float32 = wobble) -> Floats:
            return four / 4 + wobble * (2 * rng.random(four.shape, np.float32) - 1)

        right, below = np.roll(corners, -1, axis=1), np.roll(corners, -1, axis=0)
        centres[:] = between(corners + right + below + np.roll(below, -1, axis=1))
        heights[::mesh, half::mesh] = between(corners + right + centres + np.roll(centres, 1, axis=0))
        heights[half::mesh, ::mesh] = between(corners + below + centres + np.roll(centres, 1, axis=1))
        mesh, wobble = half, wobble / np.float32(decay**2)
    heights -= heights.min()
    return np.asarray(heights / heights.max(), np.float32)


def brightness(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """More light: c is added to the value of HSV, which keeps the proportions of the colours."""
    added = 255 * at(severity, *LIGHT)
    value = np.arange(256.0)
    after = np.minimum(value + added, 255)
    ratio = np.divide(after, value, out=np.zeros(256), where=value > 0)
    brighter = image * ratio.astype(np.float32)[image.max(axis=2)][..., None]
    black = ~image.any(axis=2)
    brighter[black] = added
    return to_pixels(brighter)


def spatter(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Drops on the lens: water, which adds light, or at the two strongest severities mud, which covers the image."""
    mean, sd, sigma, least, strength, is_mud = at(
        severity,
        (0.65, 0.3, 4, 0.69, 0.6, False),
        (0.65, 0.3, 3, 0.68, 0.6, False),
        (0.65, 0.3, 2, 0.68, 0.5, False),
        (0.65, 0.3, 1, 0.65, 1.5, True),
        (0.67, 0.4, 1, 0.65, 1.5, True),
    )
    liquid = gaussian_blurred(np.float32(mean) + np.float32(sd) * rng.standard_normal((SIDE, SIDE), np.float32), sigma)
    liquid[liquid < least] = 0
    if is_mud:
        cover = gaussian_blurred(liquid > least, strength)
        cover[cover < 0.8] = 0
        fraction = to_side(cover, size_of(image))[..., None]
        return to_pixels(image * (1 - fraction) + fraction * np.array(MUD, np.float32))
    fraction = to_side(np.float32(strength) * _water(liquid), size_of(image))[..., None]
    return to_pixels(image + fraction * np.array(WATER, np.float32))


def _water(liquid: Floats) -> Floats:
    """Returns how much light drops add, float32 `[224, 224]` from 0 to 1: the liquid embossed by edge distance."""
    drops = (255 * liquid).astype(np.uint8)
    far = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
    depth = cv2.equalizeHist(cv2.blur(np.minimum(far, 20), (3, 3)).astype(np.uint8))
    relief = cv2.filter2D(depth, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    light = drops * cv2.blur(relief, (3, 3)).astype(np.float32)
    return np.asarray(light / max(float(light.max()), 1.0), np.float32)


add("snow", Tones(snow), version=2)
add("fog", Tones(fog))
add("brightness", Tones(brightness), c=LIGHT)
add("spatter", Tones(spatter))
