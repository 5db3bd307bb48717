"""Everyday changes that move the image: crops, screenshots, turns, mirrors and scans."""

import math

import cv2
import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations.changes import Geometry
from embedshift.augmentations.everyday.change import Everyday, Shape, moved, places, shape
from embedshift.augmentations.everyday.tones import LEVELS, mapped
from embedshift.augmentations.ranges import Drawn, OneOf, Range

# Backgrounds of interfaces: iOS's grouped lists, Material's dark theme.
COLOURS = {"white": (255, 255, 255), "pale grey": (242, 242, 247), "dark grey": (18, 18, 18), "black": (0, 0, 0)}
# White paper in warm light: what it leaves of red, green and blue at full tint.
PAPER = np.array([1.0, 0.96, 0.86])
# How far each corner of the page lies inside the image, of its width and height.
SLANT = {f"corner_{corner}_{axis}": Range(0, 0.02) for corner in range(1, 5) for axis in ("across", "down")}


def cropped(size: Shape, numbers: Drawn) -> Geometry:
    """Returns the places of the part that is kept, stretched over the view."""
    kept = numbers["kept"]
    starts = [
        numbers[name] * side * (1 - kept) + (kept - 1) / 2
        for name, side in zip(("across", "down"), size[::-1], strict=True)
    ]
    return Geometry(places(size, [[kept, 0, starts[0]], [0, kept, starts[1]]]))


def screenshot(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    top, left, height, width = _framed(shape(image), numbers)
    view = np.empty_like(image)
    view[:] = COLOURS[numbers["colour"]]
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    view[top : top + height, left : left + width] = small
    return view


def framed(size: Shape, numbers: Drawn) -> Geometry:
    top, left, height, width = _framed(size, numbers)
    down, across = size[0] / height, size[1] / width
    return Geometry(places(size, [[across, 0, (0.5 - left) * across - 0.5], [0, down, (0.5 - top) * down - 0.5]]))


def _framed(size: Shape, numbers: Drawn) -> tuple[int, int, int, int]:
    """Returns the first row and column of the image inside its borders, and its height and width."""
    borders = [min(round(numbers["border"] * side), (side - 1) // 2) for side in size]
    return borders[0], borders[1], size[0] - 2 * borders[0], size[1] - 2 * borders[1]


def turned(size: Shape, numbers: Drawn) -> Geometry:
    """Returns the places of the largest part of the turned image that has its shape and no border."""
    turn = math.radians(numbers["degrees"])
    height, width = size
    cosine, sine = math.cos(turn), math.sin(turn)
    scale = 1 / max(cosine + abs(sine) * height / width, cosine + abs(sine) * width / height)
    back = scale * np.array([[cosine, sine], [-sine, cosine]])
    centre = (np.array([width, height]) - 1) / 2
    return Geometry(places(size, np.column_stack([back, centre - back @ centre])))


def mirror(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    return np.ascontiguousarray(image[:, ::-1])


def mirrored(size: Shape, numbers: Drawn) -> Geometry:
    return Geometry(places(size, [[-1, 0, size[1] - 1], [0, 1, 0]]))


def scan(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    """The page lies aslant; then gamma, the paper's tint, and noise in this order."""
    tones = 255 * (LEVELS / 255)[:, None] ** numbers["gamma"] * (1 - numbers["tint"] * (1 - PAPER))
    toned = mapped(moved(image, aslant(shape(image), numbers)), tones)
    noise = rng.standard_normal(image.shape, np.float32)
    noise *= np.float32(255 * numbers["noise"])
    noise += toned
    return np.clip(np.rint(noise, out=noise), 0, 255, out=noise).astype(np.uint8)


def aslant(size: Shape, numbers: Drawn) -> Geometry:
    """Returns the places of a page whose corners lie inside the image, each by fractions of the sides of its own."""
    height, width = size
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    by = np.reshape([numbers[name] for name in SLANT], (4, 2))
    page, image = (
        (corner * (width, height) - 0.5).astype(np.float32) for corner in (corners, corners + by * (1 - 2 * corners))
    )
    matrix = cv2.getPerspectiveTransform(page, image)
    return Geometry(places(size, matrix))


CROP = Everyday(None, {"kept": Range(0.9, 0.9), "across": Range(0, 1), "down": Range(0, 1)}, cropped)
SCREENSHOT = Everyday(screenshot, {"border": Range(0.05, 0.12), "colour": OneOf(tuple(COLOURS))}, framed)
ROTATE = Everyday(None, {"degrees": Range(-3, 3)}, turned)
MIRROR = Everyday(mirror, where=mirrored)
SCAN = Everyday(
    scan,
    {**SLANT, "gamma": Range(0.8, 1.25), "tint": Range(0.3, 1), "noise": Range(0.02, 0.02)},
    aslant,
)
