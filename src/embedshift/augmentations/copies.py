"""The suite `copies`: parts of an image, overlays and collages, for searches for copies.

Kinds follow AugLy and DISC21, as in `everyday`. The other images are procedural, since a view depends on its image.
"""

import functools
import math

import numpy as np

from embedshift.arrays import Pixels, Values
from embedshift.augmentations.augmentation import Augmentation, Choice
from embedshift.augmentations.changes import Geometry
from embedshift.augmentations.everyday import PLACE, Drawn, Everyday, Size, cropped, fixed, mapped, suite_of
from embedshift.augmentations.suite import SUITES
from embedshift.registry.extras import cv2

# Twelve procedural images stand beside or over an image in a copy; photographs cannot be shipped.
COUNT, SIDE = 12, 512
# Pairs of colours, one per image.
PALETTE = np.array(
    [
        [(24, 50, 92), (240, 214, 160)], [(34, 84, 50), (216, 228, 150)], [(120, 26, 40), (250, 220, 210)],
        [(40, 40, 44), (226, 226, 220)], [(250, 190, 60), (60, 40, 120)], [(20, 110, 130), (244, 250, 240)],
        [(200, 90, 40), (60, 30, 24)], [(96, 60, 130), (240, 200, 230)], [(150, 200, 235), (70, 100, 40)],
        [(235, 120, 90), (30, 34, 70)], [(190, 180, 150), (70, 74, 60)], [(30, 140, 90), (255, 245, 120)],
    ],
    np.float32,
)  # fmt: skip


@functools.cache
def procedural(number: int) -> Pixels:
    """Returns procedural image 0 to 11, RGB uint8 `[512, 512, 3]`, shared: do not write to it.

    Example:
        >>> procedural(11).shape
        (512, 512, 3)
    """
    rng = np.random.default_rng(number)
    mix = (_clouds, _bands, _squares, _discs, _hills, _rings)[number % 6](rng)
    first, second = PALETTE[number]
    grain = rng.normal(0, 4, (SIDE, SIDE, 1)).astype(np.float32)
    colours = first + (second - first) * mix[..., None].astype(np.float32) + grain
    return np.asarray(np.clip(np.rint(colours), 0, 255), np.uint8)


def _clouds(rng: np.random.Generator, roughness: float = 0.6) -> Values:
    """Returns noise of several octaves, from 0 to 1."""
    total = np.zeros((SIDE, SIDE))
    for octave in range(1, 7):
        field = rng.random((2**octave + 1, 2**octave + 1))
        total += roughness**octave * cv2.resize(field, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    low, high = total.min(), total.max()
    return np.asarray((total - low) / (high - low))


def _bands(rng: np.random.Generator) -> Values:
    down, across = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    angle, count = rng.uniform(0, np.pi), rng.integers(5, 12)
    place = across * np.cos(angle) + down * np.sin(angle) + 0.15 * _clouds(rng)
    return np.asarray(0.5 + 0.5 * np.sin(2 * np.pi * count * place))


def _squares(rng: np.random.Generator) -> Values:
    count = int(rng.integers(5, 9))
    cells = np.kron(rng.random((count, count)), np.ones((SIDE // count + 1, SIDE // count + 1)))
    return np.asarray(0.8 * cells[:SIDE, :SIDE] + 0.2 * _clouds(rng))


def _discs(rng: np.random.Generator) -> Values:
    field = 0.3 * _clouds(rng)
    for _ in range(40):
        left, top, radius = (int(rng.integers(*ends)) for ends in ((0, SIDE), (0, SIDE), (12, 70)))
        cv2.circle(field, (left, top), radius, float(rng.random()), -1, cv2.LINE_AA)
    return field


def _hills(rng: np.random.Generator) -> Values:
    field = np.linspace(0.0, 0.5, SIDE)[:, None] + 0.2 * _clouds(rng)
    for height in (0.45, 0.6, 0.75):
        line = cv2.resize(rng.random((1, 9)), (SIDE, 1), interpolation=cv2.INTER_CUBIC)[0]
        below = np.arange(SIDE)[:, None] > SIDE * (height + 0.25 * (line - 0.5))
        field = np.where(below, 1.2 * height * _clouds(rng, 0.8), field)
    return field


def _rings(rng: np.random.Generator) -> Values:
    down, across = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    centre = rng.random(2)
    distance = np.hypot(down - centre[0], across - centre[1]) + 0.1 * _clouds(rng)
    return np.asarray(0.5 + 0.5 * np.cos(2 * np.pi * rng.integers(6, 11) * distance))


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


SIDES = {50: 71, 30: 55, 15: 39}  # percent of the area → fraction of each side
PARTS = {
    kept: f"Cut to {{area:%}} of the area ({side} % of each side) at a drawn place, enlarged to the old size"
    for kept, side in SIDES.items()
}
CHANGES: dict[str, tuple[Everyday, str]] = {
    "collage": (
        Everyday(collage, {"place": tuple(QUARTERS)}, in_quarter),
        "One quarter of a collage of four, at a drawn place, beside three procedural images",
    ),
    "overlay_30": (
        Everyday(overlay, fixed(area=0.3) | PLACE, below),
        "A procedural image laid over {area:%} of the area, at a drawn place",
    ),
    "mirror_crop_50": (Everyday(None, fixed(area=0.5) | PLACE, mirrored_part), f"{PARTS[50]}, mirrored left to right"),
    **{f"crop_{kept}": (Everyday(None, fixed(area=kept / 100) | PLACE, part), words) for kept, words in PARTS.items()},
}
# One family: a map that was fitted to one crop knows the others.
CROPS = tuple(name for name in CHANGES if "crop" in name)


def copies(choice: Choice) -> list[Augmentation]:
    return suite_of(CHANGES)


SUITES.add("copies", copies)
