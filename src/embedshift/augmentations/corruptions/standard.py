"""Shared parts of the corruptions: five severities, lengths for 224 x 224 images, and layers drawn at that size."""

from collections.abc import Sequence
from typing import Any, TypeVar

import cv2
import numpy as np

from embedshift.arrays import Floats, Pixels
from embedshift.augmentations import family
from embedshift.augmentations.changes import Change, Sides, shorter, sides
from embedshift.augmentations.family import Family

T = TypeVar("T")

# Side of the published images in pixels: every published length is for it.
SIDE = 224
SEVERITIES = (1, 2, 3, 4, 5)


def corruption(name: str, change: Change, **fields: Any) -> Family:
    """Makes a corruption as a family; its parameter is the severity, and only the five published ones exist."""
    return Family(name, "corruptions", change, "severity", 0, SEVERITIES, integer=True, published=True, **fields)


def add(name: str, change: Change, version: int = 1, **constants: Sequence[float]) -> None:
    family.add(corruption(name, change, version=version, constants=constants))


def at(severity: float, *published: T) -> T:
    return published[int(severity) - 1]


def to_pixels(levels: Any) -> Pixels:
    """Converts grey levels to uint8; drops the fraction, as the published files do."""
    return np.asarray(np.clip(levels, 0, 255).astype(np.uint8))


def scale_of(of: Sides) -> float:
    return shorter(of) / SIDE


def to_side(layer: Any, of: Sides) -> Any:
    """Stretches a layer drawn at 224 x 224 over the view."""
    height, width = sides(of)
    if layer.shape[:2] == (height, width):
        return layer
    interpolation = cv2.INTER_LINEAR if min(height, width) > len(layer) else cv2.INTER_AREA
    return cv2.resize(layer, (width, height), interpolation=interpolation)


def gaussian_blurred(image: Any, sigma: float) -> Floats:
    """Blurs by a Gaussian cut at four sigma, in float32; the edge is repeated beyond the image."""
    size = 2 * int(4 * sigma + 0.5) + 1
    blurred = cv2.GaussianBlur(np.asarray(image, np.float32), (size, size), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)


def enlarged(image: Any, factor: float) -> Floats:
    """Enlarges the middle of an image `[H, W]` or `[H, W, 3]`, float32, to the size of the image, bilinearly."""
    height, width = image.shape[:2]
    (across, left), (down, top) = enlargement(width, factor), enlargement(height, factor)
    matrix = np.array([[across, 0, left], [0, down, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def enlargement(side: int, factor: float) -> tuple[float, float]:
    """Returns step and start of `enlarged`: a pixel's place in the image is step times its own place plus start."""
    middle = int(np.ceil(side / factor))
    return (middle - 1) / max(1, round(middle * factor) - 1), (side - middle) // 2


def motion_kernel(radius: int, sigma: float, angle: float) -> tuple[Floats, tuple[int, int]]:
    """Returns the kernel of a motion blur, one-sided as in ImageMagick, and its anchor."""
    along = np.arange(2 * radius + 1)
    turn = np.deg2rad(angle)
    across = np.ceil(along * np.cos(turn) - 0.5).astype(int)
    down = np.ceil(along * np.sin(turn) - 0.5).astype(int)
    anchor = -int(across.min()), -int(down.min())
    kernel = np.zeros((int(np.ptp(down)) + 1, int(np.ptp(across)) + 1))
    np.add.at(kernel, (down + anchor[1], across + anchor[0]), np.exp(-(along**2) / (2 * sigma**2)))
    return (kernel / kernel.sum()).astype(np.float32), anchor


def motion_blurred(image: Any, kernel: Floats, anchor: Sequence[int]) -> Floats:
    """Blurs an image by a `motion_kernel`, in float32; the edge is repeated beyond the image."""
    blurred = cv2.filter2D(image, cv2.CV_32F, kernel, anchor=anchor, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)
