"""The suite `everyday`: changes that platforms, cameras and people make to image files.

Kinds and ranges follow AugLy (Papakipos and Bitton 2022, arXiv 2201.06494), whose functions made queries of the Image
Similarity Challenge of 2021 (DISC21: Douze et al., arXiv 2106.09672), and documented limits of platforms.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embedshift.arrays import Pixels, Values
from embedshift.augmentations.augmentation import Augmentation, Choice, Range, Ranges, drawn
from embedshift.augmentations.changes import Geometry, Traceable, grid, sampled
from embedshift.augmentations.strength import GREY, jpeg, toned
from embedshift.augmentations.suite import SUITES
from embedshift.registry.extras import cv2

Size = tuple[int, int]  # height and width
Drawn = dict[str, Any]  # parameters of a view
LEVELS = np.arange(256.0)
# Backgrounds of interfaces (iOS's grouped lists, Material's dark theme), then colours of a caption.
INTERFACE = {"white": (255, 255, 255), "pale grey": (242, 242, 247), "dark grey": (18, 18, 18), "black": (0, 0, 0)}
CAPTION = {"black on white": (0, 255), "white on black": (255, 0)}
MARK, WORDS = "SAMPLE PHOTO", "have a look at this"
# Height of a caption as a fraction of its bar, and its maximum width as a fraction of the image.
TEXT_HEIGHT, TEXT_WIDTH = 0.5, 0.9
# Reflectance of warm paper for red, green and blue at full tint.
PAPER = np.array([1.0, 0.96, 0.86])
# Distance of each corner of a scanned page from the image's, as a fraction of width and height.
SLANT = {f"corner_{corner}_{axis}": Range(0, 0.02) for corner in range(1, 5) for axis in ("across", "down")}


@dataclass(frozen=True)
class Everyday(Traceable):
    """A change by parameters shared with its geometry; without `change` it samples at `where`."""

    change: Callable[[Pixels, Drawn, np.random.Generator], Pixels] | None
    ranges: Ranges = field(default_factory=dict)
    where: Callable[[Size, Drawn], Geometry] | None = None

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        numbers = self.parameters(rng)
        if self.change is not None:
            return self.change(image, numbers, rng)
        assert self.where is not None
        return _moved(image, self.where(image.shape[:2], numbers))

    def parameters(self, rng: np.random.Generator) -> Drawn:
        return drawn(self.ranges, rng)

    def geometry(self, image: Pixels, rng: np.random.Generator) -> Geometry:
        return Geometry() if self.where is None else self.where(image.shape[:2], self.parameters(rng))


def recompress(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    return jpeg(image, numbers["quality"], rng)


def thumbnail(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    """Shrinks to a longest side, or to half of a smaller image, and enlarges to the old size."""
    longest, limit = max(image.shape[:2]), numbers["longest"]
    factor = limit / longest if longest > limit else 0.5
    size = [max(1, round(side * factor)) for side in image.shape[1::-1]]
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    small = jpeg(small, numbers["quality"], rng) if "quality" in numbers else small
    return np.asarray(cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def cropped(size: Size, numbers: Drawn) -> Geometry:
    kept, (height, width) = numbers["kept"], size
    left, top = ((1 - kept) * (numbers[axis] * side - 0.5) for axis, side in (("across", width), ("down", height)))
    return mapped(size, [[kept, 0, left], [0, kept, top]])


def screenshot(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    geometry = framed(image.shape[:2], numbers)
    view, source = _moved(image, geometry), np.asarray(geometry.source)
    view[((source < -0.5) | (source > np.array(image.shape[1::-1]) - 0.5)).any(axis=2)] = INTERFACE[numbers["colour"]]
    return view


def framed(size: Size, numbers: Drawn) -> Geometry:
    return _around(size, np.eye(2) / (1 - 2 * numbers["border"]))


def turned(size: Size, numbers: Drawn) -> Geometry:
    """Returns the places of the largest borderless part of the turned image with its shape."""
    turn, (height, width) = math.radians(numbers["degrees"]), size
    cosine, sine = math.cos(turn), math.sin(turn)
    scale = 1 / (cosine + abs(sine) * max(height / width, width / height))
    return _around(size, scale * np.array([[cosine, sine], [-sine, cosine]]))


def mirrored(size: Size, numbers: Drawn) -> Geometry:
    return _around(size, np.diag([-1, 1]))


def scan(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    """Distorts the page, then applies gamma, the paper's tint, and noise."""
    tones = 255 * (LEVELS / 255)[:, None] ** numbers["gamma"] * (1 - numbers["tint"] * (1 - PAPER))
    noise = rng.standard_normal(image.shape, np.float32)
    noise *= np.float32(255 * numbers["noise"])
    noise += toned(_moved(image, aslant(image.shape[:2], numbers)), tones)
    return np.clip(np.rint(noise, out=noise), 0, 255, out=noise).astype(np.uint8)


def aslant(size: Size, numbers: Drawn) -> Geometry:
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    shown = corners + np.reshape([numbers[name] for name in SLANT], (4, 2)) * (1 - 2 * corners)
    page, image = ((places * size[::-1] - 0.5).astype(np.float32) for places in (corners, shown))
    return mapped(size, cv2.getPerspectiveTransform(page, image))


def watermark(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    """Draws white letters with a black outline, in proportion unless the image is too narrow."""
    rows, columns = marked(image.shape[:2], numbers)
    size = columns.stop - columns.start, rows.stop - rows.start
    parts = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in _letters(MARK))
    white, outline = (part[..., None] * np.float32(numbers["opacity"]) for part in parts)
    image[rows, columns] = np.rint(image[rows, columns] * (1 - outline) + 255 * white)
    return image


def marked(size: Size, numbers: Drawn) -> tuple[slice, slice]:
    pixels, (rows, columns) = numbers["area"] * size[0] * size[1], _letters(MARK)[0].shape
    width = max(1, min(size[1], round(math.sqrt(pixels * columns / rows))))
    height = max(1, min(size[0], round(pixels / width)))
    top, left = round(numbers["down"] * (size[0] - height)), round(numbers["across"] * (size[1] - width))
    return slice(top, top + height), slice(left, left + width)


def caption(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    text, ground = CAPTION[numbers["colours"]]
    bar, (letters, _) = image[barred(image.shape[:2], numbers)], _letters(WORDS)
    bar[:] = ground
    scale = min(TEXT_HEIGHT * len(bar) / len(letters), TEXT_WIDTH * bar.shape[1] / letters.shape[1])
    height, width = (max(1, round(scale * side)) for side in letters.shape)
    top, left = (len(bar) - height) // 2, (bar.shape[1] - width) // 2
    mix = cv2.resize(letters, (width, height), interpolation=cv2.INTER_AREA)[..., None]
    bar[top : top + height, left : left + width] = np.rint(ground + mix * np.float32(text - ground))
    return image


def barred(size: Size, numbers: Drawn) -> slice:
    height = max(1, round(numbers["height"] * size[0]))
    return slice(0, height) if numbers["place"] == "top" else slice(size[0] - height, size[0])


def covered(size: Size, numbers: Drawn) -> Geometry:
    hidden = np.zeros(size, bool)
    hidden[barred(size, numbers)] = True
    return Geometry(hidden=hidden)


@functools.cache
def _letters(text: str) -> tuple[Any, Any]:
    """Returns a cropped line of text from 0 to 1: letters, and letters with their outline."""
    letters = np.zeros((200, 120 * len(text)), np.uint8)
    cv2.putText(letters, text, (40, 130), cv2.FONT_HERSHEY_DUPLEX, 3, 255, 5, cv2.LINE_AA)
    outline = cv2.dilate(letters, np.ones((9, 9), np.uint8))
    left, top, width, height = cv2.boundingRect(outline)
    inside = slice(top, top + height), slice(left, left + width)
    return letters[inside] / np.float32(255), outline[inside] / np.float32(255)


def brightness(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    return toned(image, LEVELS * (1 + numbers["change"]))


def contrast(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    mean = float(np.dot(GREY[0], cv2.mean(image)[:3]))
    return toned(image, mean + (LEVELS - mean) * (1 + numbers["change"]))


def warm_cold(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    return toned(image, LEVELS[:, None] * (1 + numbers["red"] * np.array([1, 0, -1])))


def sharpen(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    """Sharpens by an unsharp mask with a Gaussian blur."""
    blurred = cv2.GaussianBlur(image, (0, 0), numbers["radius"] * max(image.shape[:2]))
    return np.asarray(cv2.addWeighted(image, 1 + numbers["amount"], blurred, -numbers["amount"], 0), np.uint8)


def greyscale(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def _around(size: Size, back: Values) -> Geometry:
    centre = (np.array(size[::-1]) - 1) / 2
    return mapped(size, np.column_stack([back, centre - back @ centre]))


def mapped(size: Size, matrix: Any) -> Geometry:
    """Returns the places `[H, W, 2]`, x before y, that a matrix `[2, 3]` or `[3, 3]` gives for every pixel."""
    change = cv2.transform if len(matrix) == 2 else cv2.perspectiveTransform
    return Geometry(np.asarray(change(grid(size), np.asarray(matrix, np.float64)), np.float32))


def _moved(image: Pixels, geometry: Geometry) -> Pixels:
    assert geometry.source is not None
    return np.asarray(sampled(image, geometry.source, cv2.BORDER_REFLECT_101), np.uint8)


def fixed(**numbers: float) -> dict[str, Range]:
    return {name: Range(number, number) for name, number in numbers.items()}


JPEG = "Written again as JPEG of quality {quality}, chroma 4:2:0"
PLACE = {"across": Range(0, 1), "down": Range(0, 1)}
# Name → the change, and its description with the names of its parameters.
CHANGES: dict[str, tuple[Everyday, str]] = {
    "recompress_75": (Everyday(recompress, fixed(quality=75)), JPEG),  # the default of libjpeg and Pillow
    "recompress_40": (Everyday(recompress, fixed(quality=40)), JPEG),
    "messenger": (  # Signal's standard quality: PushMediaConstraints of its app for Android
        Everyday(thumbnail, fixed(longest=1600, quality=70)),
        "Sent by a messenger: longest side {longest} px, or half where smaller, then JPEG {quality}, chroma 4:2:0",
    ),
    "thumbnail": (  # the "large" one of freedesktop.org
        Everyday(thumbnail, fixed(longest=256)),
        "A thumbnail of {longest} px, or half the size where smaller, shown large",
    ),
    "crop_90": (
        Everyday(None, fixed(kept=0.9) | PLACE, cropped),
        "Cut to {kept:%} of width and height (81 % of the area) at a drawn place, enlarged to the old size",
    ),
    "screenshot": (
        Everyday(screenshot, {"border": Range(0.05, 0.12), "colour": tuple(INTERFACE)}, framed),
        "A screenshot: the image inside borders of {border:%} on each side, in a colour of an interface",
    ),
    "watermark": (
        Everyday(watermark, fixed(area=0.1, opacity=0.5) | PLACE),
        "A line of text over {area:%} of the area, {opacity:%} opaque",
    ),
    "caption_bar": (
        Everyday(caption, {**fixed(height=0.15), "place": ("top", "bottom"), "colours": tuple(CAPTION)}, covered),
        "A bar with a caption over {height:%} of the height, at the top or bottom",
    ),
    "brightness": (Everyday(brightness, {"change": Range(-0.12, 0.12)}), "Brightness {change:%}"),
    "contrast": (Everyday(contrast, {"change": Range(-0.12, 0.12)}), "Contrast {change:%} around the mean grey"),
    "warm_cold": (
        Everyday(warm_cold, {"red": Range(-0.12, 0.12)}),
        "A warm or cold filter: red {red:%}, and blue by as much the other way",
    ),
    "sharpen": (
        Everyday(sharpen, {"amount": Range(0.5, 1.5), **fixed(radius=0.002)}),
        "Sharpened: plus {amount} times what a blur of sigma {radius:%} of the longest side removes",
    ),
    "rotate_3": (
        Everyday(None, {"degrees": Range(-3, 3)}, turned),
        "Turned by {degrees} degrees, cropped to the largest part without border, enlarged",
    ),
    "mirror": (Everyday(None, where=mirrored), "Mirrored left to right"),
    "greyscale": (Everyday(greyscale), "Shades of grey (Rec. 601)"),
    "scan": (
        Everyday(scan, {**SLANT, "gamma": Range(0.8, 1.25), "tint": Range(0.3, 1), **fixed(noise=0.02)}, aslant),
        "Printed and scanned: corners moved in by {corner_1_across:%} of the side, gamma {gamma}, paper tint {tint:%}, "
        "noise of sd {noise} of the range",
    ),
}


def everyday(choice: Choice) -> list[Augmentation]:
    return suite_of(CHANGES)


def suite_of(changes: Mapping[str, tuple[Everyday, str]]) -> list[Augmentation]:
    """Returns augmentations by name, from changes and descriptions with the names of their parameters."""
    return [
        Augmentation(
            name, change, version=1, extra={"ranges": change.ranges}, description=words.format(**change.ranges)
        )
        for name, (change, words) in changes.items()
    ]


SUITES.add("everyday", everyday)
