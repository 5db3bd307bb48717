"""Properties of originals, measured on the decoded file in its loader: about a millisecond an image."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Pixels, Values
from embedshift.config import VECTORS, Json
from embedshift.pipeline.measure import Column, Measure, StudySwitches
from embedshift.questions.meaning import PROPERTIES
from embedshift.registry.extras import cv2

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput

# Pixels of the longest side that is measured, and of the border; levels from which a gradient is an edge.
SIDE, BORDER, EDGE = 256, 6, 32
# The difference of two Laplacians (Immerkær 1996), which a plane and an edge leave near 0.
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def properties(image: Pixels, size: int = 0) -> dict[str, float]:
    """Measures one image, uint8 `[H, W, 3]`, whose file has `size` bytes; 0 = not known.

    All are of the image reduced by a whole factor to at most 256 pixels, except noise, which is of its middle as it is.

    Returns:
        `brightness` and `contrast`: mean and standard deviation of grey, in [0, 1]. `saturation`: mean of (max − min) /
        max over the channels, in [0, 1]. `warmth`: mean of red minus blue, in [−1, 1]. `sharpness`: ln(1 + variance of
        the Laplacian) in grey levels. `edge_density`: part of the pixels with a gradient of 32 levels or more.
        `border_flatness`: minus the standard deviation of the outer 6 pixels, in [−1, 0]. `noise`: its standard
        deviation in grey levels (Immerkær 1996). `width`, `height`: pixels. `bytes_per_pixel`: NaN if `size` is not
        known.

    Example:
        >>> measured = properties(np.full((8, 8, 3), (255, 0, 0), np.uint8), 64)
        >>> measured["saturation"], measured["warmth"], measured["sharpness"], measured["bytes_per_pixel"]
        (1.0, 1.0, 0.0, 1.0)
    """
    height, width = image.shape[:2]
    factor = -(-max(height, width) // SIDE)
    small = image
    if factor > 1:
        cut = image[: max(1, height // factor) * factor, : max(1, width // factor) * factor]
        target = max(1, width // factor), max(1, height // factor)
        small = np.asarray(cv2.resize(cut, target, interpolation=cv2.INTER_AREA))
    grey: Any = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    mean, sd = (float(each[0, 0]) / 255 for each in cv2.meanStdDev(grey))
    red, _, blue, _ = cv2.mean(small)
    saturation = cv2.mean(cv2.cvtColor(small, cv2.COLOR_RGB2HSV))[1]
    laplacian = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))[1][0, 0]
    across, down = cv2.spatialGradient(grey)
    edges = cv2.add(cv2.convertScaleAbs(across), cv2.convertScaleAbs(down)) >= 4 * EDGE
    return {
        "brightness": mean,
        "contrast": sd,
        "saturation": saturation / 255,
        "warmth": (red - blue) / 255,
        "sharpness": float(np.log1p(laplacian**2)),
        "edge_density": cv2.countNonZero(edges.view(np.uint8)) / edges.size,
        "border_flatness": -_border_sd(grey) / 255,
        "noise": _noise(image),
        "width": float(width),
        "height": float(height),
        "bytes_per_pixel": size / (height * width) if size else np.nan,
    }


def _border_sd(grey: NDArray[np.uint8]) -> float:
    rows, columns = (min(BORDER, side) for side in grey.shape)
    parts = (grey[:rows], grey[-rows:], grey[:, :columns], grey[:, -columns:])
    return float(np.concatenate([part.ravel() for part in parts]).std())


def _noise(image: Pixels) -> float:
    top, left = (max(0, (side - SIDE) // 2) for side in image.shape[:2])
    grey = cv2.cvtColor(np.ascontiguousarray(image[top : top + SIDE, left : left + SIDE]), cv2.COLOR_RGB2GRAY)
    if min(grey.shape) < 3:
        return 0.0
    filtered = cv2.filter2D(grey, cv2.CV_16S, _NOISE)[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2) / 6 * cv2.norm(filtered, cv2.NORM_L1) / filtered.size)


class MEASURE(Measure):
    def __init__(self, study: StudySwitches) -> None:
        super().__init__(study)
        self.has_files = study.config.augmentations != VECTORS

    def columns(self, probe: "EncoderOutput | None") -> Sequence[Column]:
        return [Column(name, None, of="original") for name in PROPERTIES if self.has_files]

    def identity(self) -> Json:
        return {"properties": [*PROPERTIES]} if self.has_files else {}

    def of_file(self, image: Pixels, size: int) -> Mapping[str, Values]:
        return {name: np.asarray(number, np.float64) for name, number in properties(image, size).items()}
