"""Purifiers: fixed changes that may undo an attack, of pictures uint8 `[H, W, 3]`."""

import functools
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from embedshift.arrays import Pixels
from embedshift.errors import UsageError


def jpeg(picture: Pixels, quality: float) -> Pixels:
    """Written as JPEG by Pillow, and read again."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=int(quality))
    return np.asarray(Image.open(buffer).convert("RGB"))


def median(picture: Pixels, side: float) -> Pixels:
    """Each value the median of a square around it; at the border the outermost values go on."""
    return np.asarray(cv2.medianBlur(picture, int(side)), np.uint8)


def blur(picture: Pixels, sigma: float) -> Pixels:
    """A Gaussian blur; the picture is mirrored at its border."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101), np.uint8)


def resize(picture: Pixels, scale: float) -> Pixels:
    """Scaled down and up again, bilinear and without antialiasing, as originals are brought to a square."""
    height, width = picture.shape[:2]
    small = max(1, round(width * scale)), max(1, round(height * scale))
    scaled = cv2.resize(picture, small, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(scaled, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def bits(picture: Pixels, count: float) -> Pixels:
    """Of 256 levels the nearest of 2 to the power of `count`, from 0 to 255."""
    last = 2 ** int(count) - 1
    return np.asarray(np.rint(np.rint(picture / 255 * last) * (255 / last)), np.uint8)


@dataclass(frozen=True)
class Kind:
    """A kind of purifier.

    Args:
        change: What it does, by a picture and a number.
        numbers: The numbers that it takes, in words.
        takes: Whether it takes one.
    """

    change: Callable[[Pixels, float], Pixels]
    numbers: str
    takes: Callable[[float], bool]


def _whole(*numbers: int) -> Callable[[float], bool]:
    return lambda number: number in numbers


PURIFIERS: Mapping[str, Kind] = {
    "jpeg": Kind(jpeg, "a quality from 1 to 100", _whole(*range(1, 101))),
    "median": Kind(median, "a side of 3 or 5 pixels", _whole(3, 5)),
    "blur": Kind(blur, "a sigma from 0.1 to 10 pixels", lambda sigma: 0.1 <= sigma <= 10),
    "resize": Kind(resize, "a scale from 0.1 to below 1", lambda scale: 0.1 <= scale < 1),
    "bits": Kind(bits, "1 to 7 bits", _whole(*range(1, 8))),
}


def purifier(name: str) -> Callable[[Pixels], Pixels]:
    """The purifier of a name like `jpeg:50`.

    Raises:
        UsageError: for another name or number.

    Example:
        >>> purifier("bits:1")(np.array([[[0, 100, 200]]], np.uint8)).tolist()
        [[[0, 0, 255]]]
        >>> purifier("jpeg:0")
        Traceback (most recent call last):
        embedshift.errors.UsageError: purifier 'jpeg:0': jpeg needs a quality from 1 to 100, such as jpeg:50
    """
    kind, _, text = name.partition(":")
    if kind not in PURIFIERS:
        raise UsageError(f"purifier {name!r}: unknown kind; use one of {', '.join(PURIFIERS)}, such as jpeg:50")
    number = float(text) if re.fullmatch(r"(?=.)[0-9]{0,4}(\.[0-9]{1,4})?", text) else -1.0
    if not PURIFIERS[kind].takes(number):
        raise UsageError(f"purifier {name!r}: {kind} needs {PURIFIERS[kind].numbers}, such as {_EXAMPLES[kind]}")
    if name != f"{kind}:{number:g}":  # two spellings would be two views
        raise UsageError(f"purifier {name!r}: write it {kind}:{number:g}")
    return functools.partial(_apply, kind, number)


def check_purifiers(names: Sequence[str]) -> None:
    """Raises UsageError for a name that is none, or that is given twice."""
    for place, name in enumerate(names):
        purifier(name)
        if name in names[:place]:
            raise UsageError(f"purifier {name!r} is given twice; leave one out")


def _apply(kind: str, number: float, picture: Pixels, *_: Any) -> Pixels:
    return PURIFIERS[kind].change(picture, number)


_EXAMPLES = {"jpeg": "jpeg:50", "median": "median:3", "blur": "blur:1", "resize": "resize:0.75", "bits": "bits:4"}
