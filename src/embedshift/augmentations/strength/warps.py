"""Strength families that move pixels: for every pixel of a view, its place in the original."""

from collections.abc import Callable

import cv2
import numpy as np

from embedshift.arrays import Floats, Values
from embedshift.augmentations.changes import Sides, Warp, grid, shorter, sides
from embedshift.augmentations.family import Family, add
from embedshift.augmentations.strength.draws import directions, phases, signs

# The largest values of the paper's ShiftScaleRotate: fractions of the side, of the size, degrees.
SHIFT, SCALE, ROTATE = 0.0625, 0.1, 15.0
# Elastic: standard deviation of the Gaussian that smooths the random field, divided by the side.
SMOOTHNESS = 0.04
# About a patch, of the side. A shift by whole patches moves an embedding less than one by half a patch. So shifts end,
# and images turn and shrink around a point, anywhere within such a phase; a level's mean over phases is the level.
PHASE = 0.0625


def shift_scale_rotate(of: Sides, times: float, rng: np.random.Generator) -> Floats:
    """Turns, scales and shifts by a multiple of the paper's largest values; four signs and a phase are drawn."""
    across, down, scale, turn = signs(rng, 4) * times
    return _similar(of, ROTATE * turn, 1 + SCALE * scale, np.multiply((across, down), _ending(SHIFT, phases(rng, 2))))


def elastic(of: Sides, shift: float, rng: np.random.Generator) -> Floats:
    """A smooth random displacement field; the root mean square of its lengths is `shift` times the side."""
    side, noise = shorter(of), rng.standard_normal((*sides(of), 2), dtype=np.float32)
    field = cv2.GaussianBlur(noise, (0, 0), SMOOTHNESS * side)
    length = np.sqrt(2 * np.mean(field**2))
    return np.asarray(grid(of) + field * np.float32(shift * side / length), np.float32)


def perspective(of: Sides, shift: float, rng: np.random.Generator) -> Floats:
    """A view from the side: every corner shows a place `shift` times the side away; directions are drawn."""
    bottom, right = np.maximum(np.subtract(sides(of), 1), 1)  # four corners of a line are no square
    corners = np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], np.float32)
    shown = corners + (shift * shorter(of) * directions(rng, 4)).astype(np.float32)
    return np.asarray(cv2.perspectiveTransform(grid(of), cv2.getPerspectiveTransform(corners, shown)), np.float32)


def rotation(of: Sides, degrees: float, rng: np.random.Generator) -> Floats:
    """Turns the image, clockwise or counter-clockwise, around a point near its centre; both are drawn."""
    return _similar(of, degrees * signs(rng, 1)[0], pivot=2 * PHASE * phases(rng, 2))


def zoom_out(of: Sides, factor: float, rng: np.random.Generator) -> Floats:
    """Shrinks the image by a factor around a point near its centre, which is drawn."""
    return _similar(of, scale=factor, pivot=2 * PHASE * phases(rng, 2))


def translation(of: Sides, fraction: float, rng: np.random.Generator) -> Floats:
    """Shifts the image by a fraction of the side; direction and phase are drawn."""
    return _similar(of, shift=directions(rng, 1)[0] * _ending(fraction, phases(rng, 1)))


def _ending(shift: float, phase: Values) -> Values:
    """Returns a shift that ends at a phase; one that is shorter than a patch keeps at least half of its length."""
    return np.asarray(shift + min(PHASE, shift) * phase)


def crop(of: Sides, area: float, rng: np.random.Generator) -> Floats:
    """Cuts out a part of the image's shape with a fraction of the area, and enlarges it; its place is drawn."""
    width = np.sqrt(area)
    left, top = (np.array(sides(of)[::-1]) * (1 - width) * rng.random(2) + (width - 1) / 2).tolist()
    return np.asarray(cv2.transform(grid(of), np.array([[width, 0, left], [0, width, top]])), np.float32)


def flip(of: Sides, mirrored: float, rng: np.random.Generator) -> Floats:
    """Mirrors left and right; nothing is drawn, and there is no strength."""
    return np.ascontiguousarray(grid(of)[:, ::-1])


def _similar(
    of: Sides,
    degrees: float = 0.0,
    scale: float = 1.0,
    shift: tuple[float, float] | Values = (0.0, 0.0),
    pivot: tuple[float, float] | Values = (0.0, 0.0),
) -> Floats:
    """Returns the places of an image turned and scaled around a pivot, then shifted; both in sides, from the centre."""
    side, (height, width) = shorter(of), sides(of)
    turn, centre = np.deg2rad(degrees), np.array([(width - 1) / 2, (height - 1) / 2]) + np.multiply(pivot, side)
    back = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / scale
    start = centre - (back * (centre + np.multiply(shift, side))).sum(axis=1)
    return np.asarray(cv2.transform(grid(of), np.column_stack([back, start])), np.float32)


def _add(
    name: str,
    source: Callable[[Sides, float, np.random.Generator], Floats],
    unit: str,
    zero: float,
    levels: tuple[float, ...],
    *,
    black: bool = False,
    version: int = 1,
) -> None:
    """Registers a family with reflected borders and, if asked, its variant with black borders."""
    add(Family(name, "strength", Warp(source), unit, zero, levels, version=version))
    if black:
        warp, variant = Warp(source, cv2.BORDER_CONSTANT), f"{name}_black"
        add(Family(variant, "strength", warp, unit, zero, levels, drawn_as=name, version=version))


_add(
    "shift_scale_rotate", shift_scale_rotate, "x the paper's maximum", 0, (0.25, 0.5, 1, 1.5, 2), black=True, version=2
)
_add("elastic", elastic, "RMS shift / side", 0, (0.0025, 0.005, 0.01, 0.02, 0.04))
_add("perspective", perspective, "RMS corner shift / side", 0, (0.025, 0.05, 0.1, 0.2, 0.3))
_add("rotation", rotation, "degrees", 0, (5, 10, 20, 45, 90), black=True, version=2)
_add("zoom_out", zoom_out, "factor", 1, (0.9, 0.75, 0.5, 0.35, 0.25), black=True, version=2)
_add("translation", translation, "shift / side", 0, (0.025, 0.05, 0.1, 0.2, 0.4), black=True, version=2)
_add("crop", crop, "area kept", 1, (0.9, 0.7, 0.5, 0.3, 0.1))
_add("flip", flip, "mirrored", 0, (1,))
