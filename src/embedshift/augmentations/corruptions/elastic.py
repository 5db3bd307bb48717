"""The corruption elastic_transform: an affine map, then a displacement by smooth noise."""

import functools

import cv2
import numpy as np
import scipy

from embedshift.arrays import Floats, Pixels, Values
from embedshift.augmentations.changes import grid, sampled
from embedshift.augmentations.corruptions.standard import SIDE, Mixed, add, at, to_pixels, to_side

# The published lengths are fractions of 244, a slip for 224 that the standard keeps.
SLIP = 244


def elastic_transform(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """The published corruption in two steps: an affine map, then places moved by smooth noise; both bilinear."""
    side = len(image)
    affine, places = _moves(side, severity, rng)
    turned = cv2.warpAffine(image.astype(np.float32), affine, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    return to_pixels(sampled(turned, places, cv2.BORDER_REFLECT))


def elastic_source(side: int, severity: float, rng: np.random.Generator) -> Floats:
    """Returns the place that each pixel shows after both steps."""
    affine, places = _moves(side, severity, rng)
    # The second step finds the first one's image mirrored beyond its edge.
    mirrored = side - 0.5 - np.abs(side - 0.5 - (np.abs(places + 0.5) - 0.5))
    back = cv2.invertAffineTransform(affine)
    return np.asarray(mirrored[..., :1] * back[:, 0] + mirrored[..., 1:] * back[:, 1] + back[:, 2], np.float32)


def _moves(side: int, severity: float, rng: np.random.Generator) -> tuple[Values, Floats]:
    """Returns the affine map `[2, 3]`, and for each pixel the place in the mapped image that it shows, `[S, S, 2]`."""
    length, sigma, corner = at(
        severity, (2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)
    )
    scale = side / SIDE
    middle, arm = SIDE // 2, SIDE // 3
    points = np.array([[middle + arm] * 2, [middle + arm, middle - arm], [middle - arm] * 2], np.float64)
    moved = points + rng.uniform(-corner * SLIP, corner * SLIP, points.shape)
    # Centres of pixels lie half a pixel inside, at both sides.
    before, after = (((each + 0.5) * scale - 0.5).astype(np.float32) for each in (points, moved))
    noise = 2 * rng.random((2, SIDE, SIDE)) - 1
    wave = _wave(sigma * SLIP)
    # Not imported by name: SciPy imports its parts when they are first used.
    smooth = scipy.fft.idctn(scipy.fft.dctn(noise, axes=(1, 2)) * (wave[:, None] * wave), axes=(1, 2)) * (
        length * SLIP * scale
    )
    shift = np.stack([to_side(each.astype(np.float32), side) for each in smooth], axis=2)
    return np.asarray(cv2.getAffineTransform(before, after), np.float64), grid(side) + np.asarray(shift, np.float32)


@functools.cache
def _wave(sigma: float) -> Values:
    """Returns by how much a Gaussian cut at three sigma damps each cosine of a row mirrored at its ends."""
    reach = np.arange(1, int(3 * sigma + 0.5) + 1)
    weights = np.exp(-(reach**2) / (2 * sigma**2))
    cosines = np.cos(np.pi * np.outer(np.arange(SIDE), reach) / SIDE)
    return np.asarray((1 + 2 * (cosines * weights).sum(axis=1)) / (1 + 2 * weights.sum()))


add("elastic_transform", Mixed(elastic_transform, elastic_source))
