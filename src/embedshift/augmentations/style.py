"""The suite `style`: filters of photo programs, each at one strength."""

import math
from typing import Any

import numpy as np

from embedshift.arrays import Pixels, Values
from embedshift.augmentations import transforms
from embedshift.augmentations.augmentation import Augmentation, Choice, plain
from embedshift.augmentations.changes import ChangeAt, Tones
from embedshift.augmentations.suite import SUITES, VIEWS
from embedshift.config import Json
from embedshift.registry.extras import cv2

# Lengths in pixels refer to this side and grow with the view.
SIDE = 224
# OpenCV's defaults: reach of edge-preserving filters, shade of a pencil drawing.
REACH, SHADE = 60.0, 0.05

# Deterministic albumentations filters: name → class, parameters, description.
PLAIN: dict[str, tuple[str, Json, str]] = {
    "sepia": ("ToSepia", {}, "Brown, as an old print"),
    "posterize": ("Posterize", {"num_bits": 2}, "Only {num_bits} bits a channel"),
    "solarize": ("Solarize", {"threshold_range": (0.5, 0.5)}, "Values above {threshold_range[0]} inverted"),
    "negative": ("InvertImg", {}, "All values inverted"),
    "equalize": ("Equalize", {}, "Each channel's values spread evenly over the range"),
    "clahe": ("CLAHE", {"clip_limit": (4, 4)}, "Lightness evened in tiles, its contrast limited to {clip_limit[0]}"),
    "emboss": ("Emboss", {"alpha": (1, 1), "strength": (1, 1)}, "A relief, lit from one corner"),
    "superpixels": ("Superpixels", {"p_replace": (1, 1), "n_segments": (100, 100)}, "{n_segments[0]} even patches"),
}


def stylization(image: Pixels, contrast: float, rng: np.random.Generator) -> Pixels:
    """Smooth areas between darkened edges, like a painting (Gastal and Oliveira 2011)."""
    return np.asarray(cv2.stylization(image, sigma_s=_reach(image), sigma_r=contrast), np.uint8)


def smooth(image: Pixels, contrast: float, rng: np.random.Generator) -> Pixels:
    """Smooth areas between edges, like a cartoon without lines: the same filter without darkened edges."""
    filtered = cv2.edgePreservingFilter(image, flags=cv2.RECURS_FILTER, sigma_s=_reach(image), sigma_r=contrast)
    return np.asarray(filtered, np.uint8)


def pencil(image: Pixels, contrast: float, rng: np.random.Generator) -> Pixels:
    """Edges as grey strokes on white."""
    return np.repeat(_pencil(image, contrast)[0][..., None], 3, axis=2)


def pencil_colour(image: Pixels, contrast: float, rng: np.random.Generator) -> Pixels:
    """Edges as strokes on white, in the colours of the image."""
    return np.asarray(_pencil(image, contrast)[1][..., ::-1], np.uint8)


def oil(image: Pixels, radius: float, rng: np.random.Generator) -> Pixels:
    """Flat strokes, by Kuwahara's filter."""
    reach = max(1, round(radius * min(image.shape[:2])))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    anchors = [(x, y) for y in (0, reach) for x in (0, reach)]
    means = np.stack([_mean(image, reach, anchor) for anchor in anchors])
    grey_means = [_mean(grey, reach, anchor) for anchor in anchors]
    squares = [_mean(grey.astype(np.float64) ** 2, reach, anchor) for anchor in anchors]
    variances = [square - mean**2 for square, mean in zip(squares, grey_means, strict=True)]
    flattest = np.argmin(variances, axis=0)
    chosen = np.take_along_axis(means, flattest[None, ..., None], axis=0)[0]
    return np.asarray(np.rint(chosen), np.uint8)


# Name → description and strength: the smallest step of colour that is an edge, of 1; for oil, radius over side.
FILTERS = {
    "stylization": (stylization, 0.45),
    "smooth": (smooth, 0.4),
    "oil": (oil, 0.018),
    "pencil": (pencil, 0.07),
    "pencil_colour": (pencil_colour, 0.07),
}


def style(choice: Choice) -> list[Augmentation]:
    filters = [
        Augmentation(name, ChangeAt(Tones(draw), strength), version=1, description=VIEWS["style"][name])
        for name, (draw, strength) in FILTERS.items()
    ]
    return filters + [
        Augmentation(name, transforms.make(kind, **parameters), description=VIEWS["style"][name])
        for name, (kind, parameters, _) in PLAIN.items()
    ]


def _reach(image: Pixels) -> float:
    return REACH * math.sqrt(image.shape[0] * image.shape[1]) / SIDE


def _pencil(image: Pixels, contrast: float) -> tuple[Pixels, Pixels]:
    """Returns a grey drawing `[S, S]` and a coloured one, blue before green."""
    blue_first = np.ascontiguousarray(image[..., ::-1])
    grey, colour = cv2.pencilSketch(blue_first, sigma_s=_reach(image), sigma_r=contrast, shade_factor=SHADE)
    return np.asarray(grey, np.uint8), np.asarray(colour, np.uint8)


def _mean(values: Any, reach: int, anchor: tuple[int, int]) -> Values:
    """Returns the mean over a square of side `reach` + 1 with its pixel `anchor` on each pixel."""
    square = (reach + 1, reach + 1)
    return np.asarray(cv2.blur(values.astype(np.float64), square, anchor=anchor, borderType=cv2.BORDER_REFLECT_101))


SUITES.add("style", style)
VIEWS["style"] = {
    name: f"{transforms.described(draw).removesuffix('.')} ({'radius' if draw is oil else 'edge'}: {plain(strength)})"
    for name, (draw, strength) in FILTERS.items()
} | {name: words.format(**parameters) for name, (_, parameters, words) in PLAIN.items()}
