"""The paper's elastic augmentation: albumentations' `ElasticTransform` with its wide blur as matrix products."""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from embedshift.arrays import Floats
from embedshift.augmentations.changes import Geometry, Warp, grid
from embedshift.augmentations.transforms import INSIDE

# Sigma of the Gaussian, in pixels at every side, as in the paper's scripts.
SIGMA = 60
# Pixels. The products take time by the cube of the side: OpenCV's own filter is faster for larger images.
LARGEST = 512
# Pixels that the blur reaches to either side. A line that is no longer comes out smooth: `RANK` numbers describe it.
REACH, RANK = 4 * SIGMA, 24


def elastic(side: int, alpha: float, rng: np.random.Generator) -> Floats:
    """Returns the place that each pixel shows: its own place, moved by smoothed noise."""
    noise = rng.standard_normal((2, side, side), dtype=np.float32)
    noise /= np.abs(noise).max()
    smooth = _blurred(noise.reshape(2 * side, side), side) * np.float32(alpha)
    return np.asarray(grid(side) + cv2.merge([*smooth.reshape(noise.shape)]), np.float32)


@dataclass(frozen=True)
class Elastic(Warp):
    """A warp by these places; places outside the original are black."""

    border: int = cv2.BORDER_CONSTANT

    def geometry(self, side: int, parameter: float, rng: np.random.Generator) -> Geometry:
        """Returns the places that the view shows; infinite where black is mixed in, as in albumentations transforms."""
        source = self.source(side, parameter, rng)
        least, most = INSIDE - 1, side - INSIDE
        whole = ((source >= least) & (source <= most)).all(axis=2, keepdims=True)
        return Geometry(np.where(whole, source, np.float32(np.inf)))


def _blurred(fields: Floats, side: int) -> Floats:
    """Blurs both fields, stacked `[2 * side, side]`."""
    if side > LARGEST:
        return np.asarray(cv2.GaussianBlur(fields, (0, 0), SIGMA, borderType=cv2.BORDER_REPLICATE))
    if side > REACH:
        return _blur(2 * side) @ (fields @ _blur(side).T)
    spread, gather = _factors(side)
    return _blur(2 * side) @ (fields @ gather.T) @ spread.T


@functools.cache
def _factors(side: int) -> tuple[Floats, Floats]:
    """Two matrices whose product is the Gaussian, `[side, RANK]` and `[RANK, side]`, up to float32's rounding."""
    blur = _blur(side).astype(np.float64)
    basis = np.linalg.qr(blur @ np.random.default_rng(0).standard_normal((side, min(side, RANK))))[0]
    return basis.astype(np.float32), (basis.T @ blur).astype(np.float32)


@functools.cache
def _blur(side: int) -> Floats:
    """Returns the Gaussian as a matrix `[side, side]` that acts on a line of pixels."""
    weights = cv2.getGaussianKernel(round(8 * SIGMA + 1) | 1, SIGMA, cv2.CV_32F)
    lines, alone = np.eye(side, dtype=np.float32), np.ones(1, np.float32)
    return np.asarray(cv2.sepFilter2D(lines, cv2.CV_32F, alone, weights, borderType=cv2.BORDER_REPLICATE))
