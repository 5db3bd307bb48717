"""Noise, drawn independently for each value of each pixel; digital corruptions; and elastic_transform."""

import functools
import io

import cv2
import numpy as np
import scipy
from PIL import Image

from embedshift.arrays import Floats, Pixels, Values
from embedshift.augmentations.changes import Sides, Tones, grid, sampled, shorter, sides, size_of
from embedshift.augmentations.corruptions import SIDE, add, at, scale_of, to_pixels, to_side

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


# The published constants of the five severities.
CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
PIXELS = (0.6, 0.5, 0.4, 0.3, 0.25)
QUALITY = (25, 18, 15, 10, 7)


def contrast(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Lower contrast: the distance of each value from its channel's mean is multiplied by c."""
    c = np.float32(at(severity, *CONTRAST))
    means = (image.sum(axis=(0, 1)) / (image.size // 3)).astype(np.float32)
    return to_pixels((image - means) * c + means)


def pixelate(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Pixelation: the means over boxes, enlarged; the number of boxes along the shorter side is always the same."""
    few = int(SIDE * at(severity, *PIXELS))
    height, width = (max(1, round(length * few / shorter(size_of(image)))) for length in size_of(image))
    small = Image.fromarray(image).resize((width, height), Image.Resampling.BOX)
    return np.asarray(small.resize(image.shape[1::-1], Image.Resampling.BOX))


def jpeg_compression(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """JPEG compression by Pillow; a block has 8 x 8 pixels at every view size."""
    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG", quality=at(severity, *QUALITY))
    return np.asarray(Image.open(data))


def saturate(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Stronger or weaker colours: the saturation s of HSV becomes c s + d."""
    c, d = at(severity, (0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))
    high = image.max(axis=2).astype(np.float32)
    missing = high[..., None] - image
    spread = missing.max(axis=2)
    saturation = spread / np.maximum(high, 1)
    after = np.clip(np.float32(c) * saturation + np.float32(d), 0, 1)
    grey = spread == 0
    missing[grey] = (0, 1, 1)
    factor = high * after / np.where(grey, 1, spread)
    return to_pixels(high[..., None] - factor[..., None] * missing)


add("contrast", Tones(contrast), c=CONTRAST)
add("pixelate", Tones(pixelate), factor=PIXELS)
add("jpeg_compression", Tones(jpeg_compression), quality=QUALITY)
add("saturate", Tones(saturate))


# The published lengths are fractions of 244, a slip for 224 that the standard keeps.
SLIP = 244


def elastic_transform(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """The published corruption in two steps: an affine map, then places moved by smooth noise; both bilinear."""
    height, width = size_of(image)
    affine, positions = _maps((height, width), severity, rng)
    turned = cv2.warpAffine(image.astype(np.float32), affine, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return to_pixels(sampled(turned, positions, cv2.BORDER_REFLECT))


def elastic_source(of: Sides, severity: float, rng: np.random.Generator) -> Floats:
    """Returns the place that each pixel shows after both steps."""
    affine, positions = _maps(of, severity, rng)
    # The second step finds the first one's image mirrored beyond its edge.
    end = np.array(sides(of)[::-1], np.float32) - 0.5
    mirrored = end - np.abs(end - (np.abs(positions + 0.5) - 0.5))
    inverse = cv2.invertAffineTransform(affine)
    return np.asarray(mirrored[..., :1] * inverse[:, 0] + mirrored[..., 1:] * inverse[:, 1] + inverse[:, 2], np.float32)


def _maps(of: Sides, severity: float, rng: np.random.Generator) -> tuple[Values, Floats]:
    """Returns the affine map `[2, 3]`, and for each pixel the place in the mapped image that it shows, `[H, W, 2]`."""
    length, sigma, corner = at(
        severity, (2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)
    )
    scale = np.array(sides(of)[::-1]) / SIDE
    middle, arm = SIDE // 2, SIDE // 3
    points = np.array([[middle + arm] * 2, [middle + arm, middle - arm], [middle - arm] * 2], np.float64)
    moved = points + rng.uniform(-corner * SLIP, corner * SLIP, points.shape)
    # Centres of pixels lie half a pixel inside, at both sides.
    before, after = (((corners + 0.5) * scale - 0.5).astype(np.float32) for corners in (points, moved))
    noise = 2 * rng.random((2, SIDE, SIDE)) - 1
    wave = _wave(sigma * SLIP)
    # Not imported by name: SciPy imports its parts when they are first used.
    smooth = scipy.fft.idctn(scipy.fft.dctn(noise, axes=(1, 2)) * (wave[:, None] * wave), axes=(1, 2)) * (
        length * SLIP * scale_of(of)
    )
    shift = np.stack([to_side(field.astype(np.float32), of) for field in smooth], axis=2)
    return np.asarray(cv2.getAffineTransform(before, after), np.float64), grid(of) + np.asarray(shift, np.float32)


@functools.cache
def _wave(sigma: float) -> Values:
    """Returns by how much a Gaussian cut at three sigma damps each cosine of a row mirrored at its ends."""
    reach = np.arange(1, int(3 * sigma + 0.5) + 1)
    weights = np.exp(-(reach**2) / (2 * sigma**2))
    cosines = np.cos(np.pi * np.outer(np.arange(SIDE), reach) / SIDE)
    return np.asarray((1 + 2 * (cosines * weights).sum(axis=1)) / (1 + 2 * weights.sum()))


add("elastic_transform", Tones(elastic_transform, elastic_source))
