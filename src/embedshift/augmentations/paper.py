"""The paper's suite: nine augmentations with the strengths of the authors' scripts."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedshift.arrays import Floats, Values
from embedshift.augmentations import transforms
from embedshift.augmentations.augmentation import Augmentation, Choice, Range, plain
from embedshift.augmentations.changes import BLACK, ChangeAt, Geometry, Sides, Warp, grid, sides
from embedshift.augmentations.corruptions import GAUSSIAN
from embedshift.augmentations.suite import SUITES, VIEWS
from embedshift.augmentations.transforms import INSIDE
from embedshift.config import Json
from embedshift.config.processes import one_blas_thread
from embedshift.registry.extras import cv2

# Sigma of the Gaussian in pixels at every side, as in the paper's scripts.
SIGMA = 60
# Reach of the blur in pixels. A line of at most this length comes out smooth: `RANK` numbers describe it.
REACH, RANK = 4 * SIGMA, 24
# Displacements are rounded to steps, this many per pixel, because the order in which BLAS adds depends on threads and
# processor and changes a displacement by some 1e-16 pixels. With 2^10 steps 1 % of the pixels would differ by a level
# from albumentations.
STEPS = 2.0**20


def elastic(of: Sides, alpha: float, rng: np.random.Generator) -> Floats:
    """Returns the source coordinates of each pixel: its own, displaced by smoothed noise."""
    noise = rng.standard_normal((2, *sides(of)), dtype=np.float32)
    noise /= np.abs(noise).max()
    with one_blas_thread():  # small products: threads would only wait for each other
        steps = _blurred(noise.reshape(-1, noise.shape[2]).astype(np.float64), alpha * STEPS)
    moved = np.rint(steps, out=steps).astype(np.float32).reshape(noise.shape) / np.float32(STEPS)
    return np.asarray(grid(of) + cv2.merge([*moved]), np.float32)


@dataclass(frozen=True)
class Elastic(Warp):
    """A warp by `elastic`, with black outside the original."""

    border: int = BLACK

    def geometry(self, of: Sides, parameter: float, rng: np.random.Generator) -> Geometry:
        """Returns the sources of the view's pixels; infinite where black is mixed in, as in albumentations."""
        source, (height, width) = self.source(of, parameter, rng), sides(of)
        least, most = np.float32(INSIDE - 1), np.array([width - INSIDE, height - INSIDE], np.float32)
        is_inside = ((source >= least) & (source <= most)).all(axis=2, keepdims=True)
        return Geometry(np.where(is_inside, source, np.float32(np.inf)))


def _blurred(fields: Values, factor: float) -> Values:
    tall, width = fields.shape
    spread, gather = _factors(width)
    if tall <= 2 * REACH:
        return (_blur(tall) @ (fields @ gather.T) * factor) @ spread.T
    spread_down, gather_down = _factors(tall)
    return (spread_down @ (gather_down @ (fields @ gather.T)) * factor) @ spread.T


@functools.lru_cache(8)  # bounded, since files have many sizes
def _factors(length: int) -> tuple[Values, Values]:
    """Returns two matrices whose product is the Gaussian, `[length, rank]` and `[rank, length]`."""
    blur = _blur(length)
    rank = min(length, max(RANK, length // 10))
    basis = np.linalg.qr(blur @ np.random.default_rng(0).standard_normal((length, rank)))[0]
    return basis, basis.T @ blur


@functools.lru_cache(2)
def _blur(length: int) -> Values:
    """Returns the Gaussian as a matrix `[length, length]` that acts on a line of pixels."""
    weights = cv2.getGaussianKernel(2 * REACH + 1, SIGMA, cv2.CV_32F).astype(np.float64)
    rows, offsets = np.ogrid[:length, -REACH : REACH + 1]
    matrix = np.zeros((length, length))
    np.add.at(matrix, (rows, np.clip(rows + offsets, 0, length - 1)), weights.T)
    return matrix


PAPER: dict[str, tuple[str, Json]] = {
    "noise": ("GaussNoise", {"std_range": (0.44, 0.88)}),
    "blur": ("GaussianBlur", {"blur_limit": (3, 7)}),
    "color_jitter": ("ColorJitter", {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.2}),
    "shift_scale_rotate": ("ShiftScaleRotate", {"shift_limit": 0.0625, "scale_limit": 0.1, "rotate_limit": 15}),
    "horizontal_flip": ("HorizontalFlip", {}),
    "elastic": ("ElasticTransform", {"alpha": 30, "sigma": SIGMA}),
    "perspective": ("Perspective", {"scale": (0.05, 0.1)}),
    "brightness_contrast": ("RandomBrightnessContrast", {"brightness_limit": 0.2, "contrast_limit": 0.2}),
    "coarse_dropout": (
        "CoarseDropout",
        {"num_holes_range": (6, 8), "hole_height_range": (16, 16), "hole_width_range": (16, 16), "fill": "random"},
    ),
}


# Descriptions; a range stands for two numbers, and ± for one.
WORDS = {
    "noise": "Gaussian noise, sd {std_range} of the range; ImageNet-C's strongest is {strongest}",
    "blur": "Gaussian blur, kernel of {blur_limit} pixels",
    "color_jitter": "Brightness {brightness:%}, contrast {contrast:%}, saturation {saturation:%}, hue {hue:%} of the "
    "circle, in a drawn order",
    "shift_scale_rotate": "Shifted by {shift_limit:%} of the side, scaled by {scale_limit:%}, turned by {rotate_limit} "
    "degrees; black border",
    "horizontal_flip": "Mirrored left to right",
    "elastic": "Warped by noise of amplitude {alpha.high:g}, smoothed by a sigma of {sigma.high:g} pixels",
    "perspective": "A view from the side: corners move inwards, sd {scale} of the side; right and bottom are cut more",
    "brightness_contrast": "Brightness {brightness_limit:%} of the range, contrast {contrast_limit:%}",
    "coarse_dropout": "{num_holes_range} squares of {hole_height_range} pixels a side, of random colours",
}


def descriptions() -> dict[str, str]:
    written: dict[str, Any] = {"strongest": plain(GAUSSIAN[-1])}
    for key, value in (entry for _, settings in PAPER.values() for entry in settings.items() if entry[0] != "fill"):
        written[key] = Range(*value) if isinstance(value, tuple) else Range(-value, value)
    return {name: words.format(**written) for name, words in WORDS.items()}


def paper(choice: Choice) -> list[Augmentation]:
    words, alpha = descriptions(), PAPER["elastic"][1]["alpha"]
    # Equal to albumentations' except for a level in a few pixels in a million, in a quarter of the time.
    change, extra = ChangeAt(Elastic(elastic), alpha), {"alpha": alpha, "sigma": SIGMA}
    return [
        Augmentation(name, change, version=4, extra=extra, description=words[name])
        if name == "elastic"
        else Augmentation(name, transforms.make(kind, **settings), description=words[name])
        for name, (kind, settings) in PAPER.items()
    ]


SUITES.add("paper", paper)
VIEWS["paper"] = descriptions()
