"""Variants: views from another program; purifiers: fixed changes that may undo an attack."""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations.augmentation import ORIGINAL, Augmentation
from embedshift.augmentations.changes import recompressed
from embedshift.augmentations.transforms import Transform
from embedshift.config import Json
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.registry.extras import cv2


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
    change: Callable[[Pixels, float], Pixels]
    numbers: str
    accepts: Callable[[float], bool]
    example: str


PURIFIERS: Mapping[str, Kind] = {
    "jpeg": Kind(recompressed, "a quality from 1 to 100", range(1, 101).__contains__, "jpeg:50"),
    "median": Kind(median, "a side of 3 or 5 pixels", (3, 5).__contains__, "median:3"),
    "blur": Kind(blur, "a sigma from 0.1 to 10 pixels", lambda sigma: 0.1 <= sigma <= 10, "blur:1"),
    "resize": Kind(resize, "a scale from 0.1 to below 1", lambda scale: 0.1 <= scale < 1, "resize:0.75"),
    "bits": Kind(bits, "1 to 7 bits", range(1, 8).__contains__, "bits:4"),
}


def purifier(name: str) -> Callable[[Pixels], Pixels]:
    kind, _, text = name.partition(":")
    if kind not in PURIFIERS:
        raise UsageError(f"purifier {name!r}: unknown kind; use one of {', '.join(PURIFIERS)}, such as jpeg:50")
    number = float(text) if re.fullmatch(r"(?=.)[0-9]{0,4}(\.[0-9]{1,4})?", text) else -1.0
    if not PURIFIERS[kind].accepts(number):
        raise UsageError(
            f"purifier {name!r}: {kind} needs {PURIFIERS[kind].numbers}, such as {PURIFIERS[kind].example}"
        )
    if name != f"{kind}:{number:g}":  # two spellings would be two views
        raise UsageError(f"purifier {name!r}: write it {kind}:{number:g}")
    return functools.partial(_apply, kind, number)


def check_purifiers(names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        purifier(name)
        if name in names[:index]:
            raise UsageError(f"purifier {name!r} is given twice; leave one out")


def _apply(kind: str, number: float, picture: Pixels, *_: Any) -> Pixels:
    return PURIFIERS[kind].change(picture, number)


def read_only(image: Pixels, rng: np.random.Generator) -> Pixels:
    raise EmbedshiftError("a variant is read from its source, and cannot be drawn")


@dataclass(frozen=True)
class Variant(Augmentation):
    """A version of every image from another program, with known seeds if from `embedshift views`."""

    transform: Transform = read_only
    bytes_hash: str = ""
    missing: int = 0
    description: str = "Made by another program"
    from_views_file: bool = False

    def describe(self) -> Json:
        described: Json = {"variant": self.name, "hash": self.bytes_hash}
        described |= {"missing": self.missing} if self.missing else {}
        return described | ({"level": dataclasses.asdict(self.level)} if self.level else {})


@dataclass(frozen=True)
class Purified(Variant):
    """The original, or a variant, after a purifier; computed from the views that are read."""

    source: str = ORIGINAL
    purifier: str = ""

    @classmethod
    def make(cls, source: str, name: str, **fields: Any) -> "Purified":
        description = f"The {source if source == ORIGINAL else f'view {source}'} after {name}"
        return cls(f"{source}+{name}", purifier(name), source=source, purifier=name, description=description, **fields)

    def describe(self) -> Json:
        variant = {} if self.source == ORIGINAL else super().describe() | {"variant": self.source}
        return {**variant, "of": self.source, "purifier": self.purifier, "version": 1}


def with_purified(variants: Sequence[Variant], purifiers: Sequence[str]) -> Iterator[Variant]:
    """Yields the variants, then the original after each purifier, then every variant after each purifier."""
    yield from variants
    yield from (Purified.make(ORIGINAL, name) for name in purifiers)
    for variant in variants:
        for name in purifiers:
            yield Purified.make(variant.name, name, bytes_hash=variant.bytes_hash, missing=variant.missing)


def purified_of(described: Mapping[str, Any]) -> Purified | None:
    """Returns the purified views of a description; None for another kind or version."""
    if "purifier" not in described or described["version"] != 1:
        return None
    try:
        return Purified.make(described["of"], described["purifier"])
    except UsageError:
        return None
