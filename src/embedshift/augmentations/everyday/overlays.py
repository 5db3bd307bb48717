"""Everyday changes that lay text over the image: a watermark and a caption."""

import functools
import math

import cv2
import numpy as np

from embedshift.arrays import Floats, Pixels
from embedshift.augmentations.changes import Geometry
from embedshift.augmentations.everyday.change import Everyday, Shape, shape
from embedshift.augmentations.ranges import Drawn, OneOf, Range

MARK, CAPTION_TEXT = "SAMPLE PHOTO", "have a look at this"
# Of the bar that the text is high, and of the image that it is wide at most.
TEXT_HEIGHT, TEXT_WIDTH = 0.5, 0.9
COLOURS = {"black on white": (0, 255), "white on black": (255, 0)}


def watermark(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    """White letters with a black outline; the line keeps its proportions unless the image is too narrow."""
    top, left, height, width = marked(shape(image), numbers)
    levels, opacity = (cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA) for part in _letters(MARK))
    opacity = opacity[..., None] * np.float32(numbers["opacity"])
    box = image[top : top + height, left : left + width]
    box[:] = np.rint(box + opacity * (levels[..., None] - box))
    return image


def marked(size: Shape, numbers: Drawn) -> tuple[int, int, int, int]:
    """Returns the first row and column, the height and the width of the watermark."""
    pixels = numbers["area"] * size[0] * size[1]
    rows, columns = _letters(MARK)[0].shape
    width = max(1, min(size[1], round(math.sqrt(pixels * columns / rows))))
    height = max(1, min(size[0], round(pixels / width)))
    top, left = round(numbers["down"] * (size[0] - height)), round(numbers["across"] * (size[1] - width))
    return top, left, height, width


def caption(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    text, ground = COLOURS[numbers["colours"]]
    rows = barred(shape(image), numbers)
    bar = image[rows]
    bar[:] = ground
    letters = _letters(CAPTION_TEXT)[2]
    scale = min(TEXT_HEIGHT * len(bar) / len(letters), TEXT_WIDTH * bar.shape[1] / letters.shape[1])
    height, width = (max(1, round(scale * side)) for side in letters.shape)
    top, left = (len(bar) - height) // 2, (bar.shape[1] - width) // 2
    mix = cv2.resize(letters, (width, height), interpolation=cv2.INTER_AREA)[..., None]
    bar[top : top + height, left : left + width] = np.rint(ground + mix * np.float32(text - ground))
    return image


def barred(size: Shape, numbers: Drawn) -> slice:
    """Returns the rows of the bar."""
    height = max(1, round(numbers["height"] * size[0]))
    return slice(0, height) if numbers["place"] == "top" else slice(size[0] - height, size[0])


def covered(size: Shape, numbers: Drawn) -> Geometry:
    hidden = np.zeros(size, bool)
    hidden[barred(size, numbers)] = True
    return Geometry(hidden=hidden)


@functools.cache
def _letters(text: str) -> tuple[Floats, Floats, Floats]:
    """Returns a line of text, cut to its outline: levels from 0 to 255, opacity, and letters alone, from 0 to 1."""
    outline, letters = (np.zeros((200, 120 * len(text)), np.uint8) for _ in range(2))
    for canvas, thickness in ((outline, 16), (letters, 5)):
        cv2.putText(canvas, text, (40, 130), cv2.FONT_HERSHEY_DUPLEX, 3, 255, thickness, cv2.LINE_AA)
    left, top, width, height = cv2.boundingRect(np.maximum(outline, letters))
    inside = slice(top, top + height), slice(left, left + width)
    white, opacity = (part[inside].astype(np.float32) for part in (letters, np.maximum(outline, letters)))
    return white, opacity / np.float32(255), white / np.float32(255)


WATERMARK = Everyday(
    watermark,
    {"area": Range(0.1, 0.1), "opacity": Range(0.5, 0.5), "across": Range(0, 1), "down": Range(0, 1)},
)
CAPTION = Everyday(
    caption,
    {"height": Range(0.15, 0.15), "place": OneOf(("top", "bottom")), "colours": OneOf(tuple(COLOURS))},
    covered,
)
