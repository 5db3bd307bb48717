"""The suite `copies`: parts of an image, and images laid over or beside it, which a search for copies must find.

Kinds follow AugLy and DISC21, as in `everyday`. The other images are procedural, since a view depends on its image.
"""

import math

import cv2
import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations.augmentation import Augmentation, Choice
from embedshift.augmentations.changes import Geometry
from embedshift.augmentations.everyday import PLACE, Drawn, Everyday, Size, cropped, fixed, mapped, suite_of
from embedshift.augmentations.procedural import COUNT, procedural
from embedshift.augmentations.suite import SUITES

QUARTERS = {"upper left": (0, 0), "upper right": (0, 1), "lower left": (1, 0), "lower right": (1, 1)}


def part(size: Size, numbers: Drawn) -> Geometry:
    """Returns the places of a part with the image's shape and a fraction of its area, at a drawn place."""
    return cropped(size, numbers | {"kept": math.sqrt(numbers["area"])})


def mirrored_part(size: Size, numbers: Drawn) -> Geometry:
    source = part(size, numbers).source
    assert source is not None
    return Geometry(np.ascontiguousarray(source[:, ::-1]))


def collage(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    """Shows the image in a drawn quarter, and three others of the twelve in the other quarters."""
    others, view = iter(rng.permutation(COUNT).tolist()), np.empty_like(image)
    for name in QUARTERS:
        rows, columns = quarter(image.shape[:2], name)
        shown = image if name == numbers["place"] else procedural(next(others))
        view[rows, columns] = _fitted(shown, rows, columns)
    return view


def in_quarter(size: Size, numbers: Drawn) -> Geometry:
    rows, columns = quarter(size, numbers["place"])
    down, across = (size[0] / (rows.stop - rows.start), size[1] / (columns.stop - columns.start))
    left, top = across * (0.5 - columns.start) - 0.5, down * (0.5 - rows.start) - 0.5
    return mapped(size, [[across, 0, left], [0, down, top]])


def quarter(size: Size, place: str) -> tuple[slice, slice]:
    halves = [(slice(0, max(1, length // 2)), slice(length // 2, length)) for length in size]
    rows, columns = (half[at] for half, at in zip(halves, QUARTERS[place], strict=True))
    return rows, columns


def overlay(image: Pixels, numbers: Drawn, rng: np.random.Generator) -> Pixels:
    """Lays one of the twelve over a part of the image."""
    rows, columns = covered_part(image.shape[:2], numbers)
    image[rows, columns] = _fitted(procedural(int(rng.integers(COUNT))), rows, columns)
    return image


def covered_part(size: Size, numbers: Drawn) -> tuple[slice, slice]:
    height, width = (max(1, round(length * math.sqrt(numbers["area"]))) for length in size)
    top, left = round(numbers["down"] * (size[0] - height)), round(numbers["across"] * (size[1] - width))
    return slice(top, top + height), slice(left, left + width)


def below(size: Size, numbers: Drawn) -> Geometry:
    hidden = np.zeros(size, bool)
    hidden[covered_part(size, numbers)] = True
    return Geometry(hidden=hidden)


def _fitted(image: Pixels, rows: slice, columns: slice) -> Pixels:
    size = columns.stop - columns.start, rows.stop - rows.start
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


PART = "Cut to {area:%} of the area at a drawn place, enlarged to the old size"
CHANGES: dict[str, tuple[Everyday, str]] = {
    "collage": (
        Everyday(collage, {"place": tuple(QUARTERS)}, in_quarter),
        "One quarter of a collage of four, at a drawn place, beside three procedural images",
    ),
    "overlay_30": (
        Everyday(overlay, fixed(area=0.3) | PLACE, below),
        "A procedural image laid over {area:%} of the area, at a drawn place",
    ),
    "mirror_crop_50": (Everyday(None, fixed(area=0.5) | PLACE, mirrored_part), f"{PART}, mirrored left to right"),
    **{f"crop_{kept}": (Everyday(None, fixed(area=kept / 100) | PLACE, part), PART) for kept in (50, 30, 15)},
}


def copies(choice: Choice) -> list[Augmentation]:
    return suite_of(CHANGES)


SUITES.add("copies", copies)
