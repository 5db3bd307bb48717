"""Purifiers: fixed changes that may undo an attack, for images uint8 `[H, W, 3]`."""

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
    """Writes the image as JPEG with Pillow, and reads it again."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=int(quality))
    return np.asarray(Image.open(buffer).convert("RGB"))


def median(picture: Pixels, side: float) -> Pixels:
    """Replaces each value by the median of a square around it; the border values are repeated beyond the border."""
    return np.asarray(cv2.medianBlur(picture, int(side)), np.uint8)


def blur(picture: Pixels, sigma: float) -> Pixels:
    """Blurs by a Gaussian; the image is mirrored at its border."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101), np.uint8)


def resize(picture: Pixels, scale: float) -> Pixels:
    """Scales down and up again, bilinear and without antialiasing, as originals are resized to a square."""
    height, width = picture.shape[:2]
    small = max(1, round(width * scale)), max(1, round(height * scale))
    scaled = cv2.resize(picture, small, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(scaled, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def bits(picture: Pixels, count: float) -> Pixels:
    """Rounds each of 256 levels to the nearest of 2 to the power of `count` levels, from 0 to 255."""
    last = 2 ** int(count) - 1
    return np.asarray(np.rint(np.rint(picture / 255 * last) * (255 / last)), np.uint8)


@dataclass(frozen=True)
class Kind:
    """A kind of purifier."""

    change: Callable[[Pixels, float], Pixels]
    numbers: str
    requires: Callable[[float], bool]


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
    """Returns the purifier of a name such as `jpeg:50`."""
    kind, _, text = name.partition(":")
    if kind not in PURIFIERS:
        raise UsageError(f"purifier {name!r}: unknown kind; use one of {', '.join(PURIFIERS)}, such as jpeg:50")
    number = float(text) if re.fullmatch(r"(?=.)[0-9]{0,4}(\.[0-9]{1,4})?", text) else -1.0
    if not PURIFIERS[kind].requires(number):
        raise UsageError(f"purifier {name!r}: {kind} needs {PURIFIERS[kind].numbers}, such as {_EXAMPLES[kind]}")
    if name != f"{kind}:{number:g}":  # two spellings would be two views
        raise UsageError(f"purifier {name!r}: write it {kind}:{number:g}")
    return functools.partial(_apply, kind, number)


def check_purifiers(names: Sequence[str]) -> None:
    """Raises UsageError for a name that is not a purifier, and for one given twice."""
    for place, name in enumerate(names):
        purifier(name)
        if name in names[:place]:
            raise UsageError(f"purifier {name!r} is given twice; leave one out")


def _apply(kind: str, number: float, picture: Pixels, *_: Any) -> Pixels:
    return PURIFIERS[kind].change(picture, number)


_EXAMPLES = {"jpeg": "jpeg:50", "median": "median:3", "blur": "blur:1", "resize": "resize:0.75", "bits": "bits:4"}
