"""The corruption elastic_transform: an affine map, then a displacement by smooth noise."""

import functools

import cv2
import numpy as np
import scipy

from embedshift.arrays import Floats, Pixels, Values
from embedshift.augmentations.changes import Sides, Tones, grid, sampled, sides, size_of
from embedshift.augmentations.corruptions.standard import SIDE, add, at, scale_of, to_pixels, to_side

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
