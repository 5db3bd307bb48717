"""The suite `strength`: families of changes, from barely visible to destructive."""

from dataclasses import replace
from typing import Any

import numpy as np

from embedshift.arrays import Floats, Pixels, Values
from embedshift.augmentations.augmentation import Augmentation, Choice
from embedshift.augmentations.changes import BLACK, Change, Cover, Mask, Sides, Tones, Warp, grid, shorter, sides
from embedshift.augmentations.family import FAMILIES, Family, family_augmentations
from embedshift.augmentations.suite import SUITES
from embedshift.registry.extras import cv2


def _add(
    name: str, change: Change, unit: str, zero: float, levels: tuple[float, ...], black: bool = False, **fields: Any
) -> None:
    """Registers a family; with `black` also a variant with black borders and the same seeds."""
    family = Family(name, "strength", change, unit, zero, levels, **fields)
    FAMILIES.add(name, family)
    if black and isinstance(change, Warp):
        warp = Warp(change.source, BLACK)
        FAMILIES.add(f"{name}_black", replace(family, name=f"{name}_black", change=warp, drawn_as=name))


def signs(rng: np.random.Generator, count: int) -> Values:
    return np.asarray(rng.integers(0, 2, count) * 2.0 - 1.0)


def directions(rng: np.random.Generator, count: int) -> Values:
    angle = rng.uniform(0.0, 2.0 * np.pi, count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def phases(rng: np.random.Generator, count: int) -> Values:
    return rng.uniform(-0.5, 0.5, count)


def jpeg(image: Pixels, quality: float, rng: np.random.Generator) -> Pixels:
    """Writes the image as JPEG and reads it again."""
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]


def downscale(image: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """Shrinks by a factor, each pixel the mean of those that it replaces, then enlarges bilinearly to the old size."""
    height, width = image.shape[:2]
    small = max(1, round(factor * width)), max(1, round(factor * height))
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def noise(image: Pixels, deviation: float, rng: np.random.Generator) -> Pixels:
    """Adds normal noise to every pixel and channel; the standard deviation is a fraction of the range."""
    field = rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(image + field * np.float32(255.0 * deviation)), 0, 255).astype(np.uint8)


def blur(image: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Gaussian blur; `sigma` is a fraction of the side."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma * min(image.shape[:2])), np.uint8)


_add("jpeg", Tones(jpeg), "quality", 100, (80, 50, 25, 10, 5), integer=True)
_add("downscale", Tones(downscale), "factor", 1, (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32))
_add("noise", Tones(noise), "sd / range", 0, (0.03, 0.06, 0.12, 0.24, 0.48))
_add("blur", Tones(blur), "sigma / side", 0, (0.0025, 0.005, 0.01, 0.02, 0.04))


# As in the paper, which has six to eight: a fraction of 0.04 gives its size, 16 pixels of 224.
HOLES = 8


def holes(of: Sides, fraction: float, rng: np.random.Generator) -> Mask:
    """Returns eight squares of one size that cover a fraction of the pixels, exact to the pixel; centres are drawn."""
    drawn = zip(sides(of)[::-1], rng.random((2, HOLES)), strict=True)
    across, down = (np.abs(np.arange(length) + 0.5 - length * part[:, None]) for length, part in drawn)
    distance = np.full(sides(of), np.inf)
    for column, row in zip(across, down, strict=True):
        np.minimum(distance, np.maximum(column, row[:, None]), out=distance)
    hidden = np.zeros(distance.size, bool)
    hidden[np.argsort(distance, axis=None, kind="stable")[: round(fraction * distance.size)]] = True
    return hidden.reshape(distance.shape)


def rectangle(of: Sides, fraction: float, rng: np.random.Generator) -> Mask:
    """Returns one part of the image's shape inside it that covers a fraction of the pixels, to whole pixels."""
    hidden = np.zeros(sides(of), bool)
    height, width = (round(length * np.sqrt(fraction)) for length in hidden.shape)
    room = np.subtract(hidden.shape, (height, width))[::-1] + 1
    left, top = np.floor(rng.random(2) * room).astype(int)
    hidden[top : top + height, left : left + width] = True
    return hidden


def grains(image: Pixels, rng: np.random.Generator) -> Pixels:
    return rng.integers(0, 256, image.shape, dtype=np.uint8)


def mid_grey(image: Pixels, rng: np.random.Generator) -> Pixels:
    return np.full_like(image, 128)


_add("coarse_dropout", Cover(holes, grains), "hidden", 0, (0.025, 0.05, 0.1, 0.2, 0.4))
_add("occlusion", Cover(rectangle, mid_grey), "hidden", 0, (0.05, 0.1, 0.2, 0.4, 0.6))


# Rec. 601: weights of red, green and blue in a grey level.
GREY = np.array([[0.299, 0.587, 0.114]])


def color_jitter(image: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    """Changes brightness, contrast, saturation and hue, in this order, each up or down."""
    brightness, contrast, saturation, turn = signs(rng, 4) * amount
    bright = np.minimum(image * np.float32((1 + brightness) / 255), 1)
    mean = np.float32((GREY[0] * cv2.mean(bright)[:3]).sum())
    harder = np.clip(mean + (bright - mean) * np.float32(1 + contrast), 0, 1)
    return _pixels(_turned(np.clip(_saturated(harder, 1 + saturation), 0, 1), 360 * turn))


def brightness_contrast(image: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    """Multiplies contrast around mid-grey by 1 ± amount, and adds ± amount of the range to the brightness."""
    contrast, brightness = signs(rng, 2) * amount
    return toned(image, (0.5 + (np.arange(256) / 255 - 0.5) * (1 + contrast) + brightness) * 255)


def grey(image: Pixels, mix: float, rng: np.random.Generator) -> Pixels:
    """Mixes the image with its grey version; 1 is fully grey."""
    return _pixels(_saturated(image * np.float32(1 / 255), 1 - mix))


def gamma(image: Pixels, power: float, rng: np.random.Generator) -> Pixels:
    """Raises levels, as fractions of the range, to the power g or 1/g. One sign is drawn: darker or brighter."""
    return toned(image, (np.arange(256) / 255) ** power ** signs(rng, 1)[0] * 255)


def hue(image: Pixels, degrees: float, rng: np.random.Generator) -> Pixels:
    """Turns the hue (of HSV) by `degrees` in either direction. One sign is drawn."""
    return _pixels(_turned(image * np.float32(1 / 255), signs(rng, 1)[0] * degrees))


def _saturated(levels: Floats, factor: float) -> Floats:
    return np.asarray(cv2.transform(levels, factor * np.eye(3) + (1 - factor) * GREY), np.float32)


def _turned(levels: Floats, degrees: float) -> Floats:
    turned = cv2.cvtColor(levels, cv2.COLOR_RGB2HSV)
    turned[..., 0] = (turned[..., 0] + np.float32(degrees)) % 360
    return np.asarray(cv2.cvtColor(turned, cv2.COLOR_HSV2RGB), np.float32)


def _pixels(levels: Floats) -> Pixels:
    return np.clip(np.rint(levels * 255), 0, 255).astype(np.uint8)


def toned(image: Pixels, curve: Values) -> Pixels:
    """Replaces every level by the value of a curve `[256]`, or of one curve per channel, `[256, 3]`."""
    table = np.clip(np.rint(curve), 0, 255).astype(np.uint8).reshape(1, 256, -1)
    return np.asarray(cv2.LUT(image, table), np.uint8)


_add("color_jitter", Tones(color_jitter), "±", 0, (0.05, 0.1, 0.2, 0.3, 0.4))
_add("brightness_contrast", Tones(brightness_contrast), "±", 0, (0.1, 0.2, 0.3, 0.4, 0.5))
_add("grey", Tones(grey), "mix", 0, (0.2, 0.4, 0.6, 0.8, 1))
_add("gamma", Tones(gamma), "g or 1/g", 1, (1.25, 1.5, 2, 3, 4))
_add("hue", Tones(hue), "degrees", 0, (10, 20, 45, 90, 180))


# The paper's maximum of ShiftScaleRotate: fractions of the side, of the size, degrees.
SHIFT, SCALE, ROTATE = 0.0625, 0.1, 15.0
# Sigma of elastic's Gaussian as a fraction of the side.
SMOOTHNESS = 0.04
# Approximate side of a patch as a fraction of the image's side. A shift by whole patches moves an embedding less than
# one by half a patch, so shifts and centres of rotation have a random phase within a patch.
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
    bottom, right = np.maximum(np.subtract(sides(of), 1), 1)  # not a square
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
    """Returns a shift that ends at a phase; a shift shorter than a patch keeps at least half of its length."""
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
    """Returns the sources of an image turned and scaled around a pivot, then shifted; in sides from the centre."""
    side, (height, width) = shorter(of), sides(of)
    turn, centre = np.deg2rad(degrees), np.array([(width - 1) / 2, (height - 1) / 2]) + np.multiply(pivot, side)
    back = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / scale
    start = centre - (back * (centre + np.multiply(shift, side))).sum(axis=1)
    return np.asarray(cv2.transform(grid(of), np.column_stack([back, start])), np.float32)


_add(
    "shift_scale_rotate", Warp(shift_scale_rotate), "x the paper's maximum", 0, (0.25, 0.5, 1, 1.5, 2),
    black=True, version=2,
)  # fmt: skip
_add("elastic", Warp(elastic), "RMS shift / side", 0, (0.0025, 0.005, 0.01, 0.02, 0.04))
_add("perspective", Warp(perspective), "RMS corner shift / side", 0, (0.025, 0.05, 0.1, 0.2, 0.3))
_add("rotation", Warp(rotation), "degrees", 0, (5, 10, 20, 45, 90), black=True, version=2)
_add("zoom_out", Warp(zoom_out), "factor", 1, (0.9, 0.75, 0.5, 0.35, 0.25), black=True, version=2)
_add("translation", Warp(translation), "shift / side", 0, (0.025, 0.05, 0.1, 0.2, 0.4), black=True, version=2)
_add("crop", Warp(crop), "area kept", 1, (0.9, 0.7, 0.5, 0.3, 0.1))
_add("flip", Warp(flip), "mirrored", 0, (1,))


# The order of tables and figures: the paper's nine without the flip, then the others.
STANDARD = (
    "noise", "blur", "color_jitter", "shift_scale_rotate", "elastic", "perspective", "brightness_contrast",
    "coarse_dropout", "rotation", "zoom_out", "translation", "crop", "jpeg", "downscale", "occlusion", "grey", "gamma",
    "hue", "flip",
)  # fmt: skip


def strength(choice: Choice) -> list[Augmentation]:
    return family_augmentations("strength", choice, STANDARD)


SUITES.add("strength", strength)
