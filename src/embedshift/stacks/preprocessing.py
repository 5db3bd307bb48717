"""From a file's bytes to the normalised input of a network, by a recipe."""

import functools
import io
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch.nn import functional

from embedshift.arrays import Floats, Pixels
from embedshift.sources.images import decode
from embedshift.stacks.recipe import PILLOW, Recipe

Square = NDArray[Any]  # uint8, or float32 in [0, 255]

ORIENTATION = 0x0112
FILTERS = {name: Image.Resampling(number) for number, name in PILLOW.items()}
OPENCV_FLAGS = {"linear": 1, "nearest": 0, "cubic": 2, "area": 3, "lanczos": 4}
PADDING = {"black": 0, "grey": 127, "white": 255}
DECODING = ("jpeg", "orientation", "decoder", "alpha", "inks", "depth")
# Decoded images that are kept.
KEPT = 48


class Inputs:
    def __init__(self, files: Sequence[bytes]) -> None:
        self.files = files
        self._pixels = functools.lru_cache(KEPT)(self._decoded)

    def __call__(self, recipe: Recipe, index: int) -> Floats:
        """The normalised input `[3, S, S]` of one file."""
        size = recipe.size if recipe.decoder == "draft" else 0
        pixels = self._pixels(index, size, *(getattr(recipe, axis) for axis in DECODING))
        square = _square(pixels, recipe)
        if recipe.input_jpeg:
            square = _recompressed(square.round().clip(0, 255).astype(np.uint8), recipe.input_jpeg)
        values = square.astype(np.float32) / np.float32(255 / recipe.values)
        mean, std = (np.asarray(triple, np.float32) for triple in recipe.statistics)
        values = (values[..., :: -1 if recipe.channels == "bgr" else 1] - mean) / std
        return np.ascontiguousarray(values[..., :: -1 if recipe.channels == "late" else 1].transpose(2, 0, 1))

    def _decoded(self, index: int, size: int, jpeg: int | None, orientation: bool, *how: str) -> Pixels:
        data = self.files[index]
        pixels = decode(data)
        if (orientation, *how) != (True, "full", "white", "pillow", "high"):
            with Image.open(io.BytesIO(data)) as image:
                turn = image.getexif().get(ORIENTATION, 1) if orientation else 1
                rgb = _rgb(image, data, size, *how)
            rgb.getexif()[ORIENTATION] = turn
            pixels = np.asarray(ImageOps.exif_transpose(rgb))
        return _recompressed(pixels, jpeg) if jpeg else pixels


def _recompressed(pixels: Pixels, quality: int) -> Pixels:
    coded = io.BytesIO()
    Image.fromarray(pixels).save(coded, "JPEG", quality=quality)
    return np.asarray(Image.open(coded))


def _rgb(image: Image.Image, data: bytes, size: int, decoder: str, alpha: str, inks: str, depth: str) -> Image.Image:
    if image.mode == "CMYK" and inks == "opencv":
        pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return Image.fromarray(pixels[..., ::-1].copy())
    if image.format == "JPEG" and image.mode == "RGB" and decoder != "full":
        halves = image.width // 2, image.height // 2
        if decoder == "chroma" and [layer[1:3] for layer in image.layer] == [(2, 2), (1, 1), (1, 1)]:  # type: ignore[attr-defined]
            luma, chroma = (_planes(data, sides) for sides in (image.size, halves))
            chroma = chroma.repeat(2, axis=0).repeat(2, axis=1)[: luma.shape[0], : luma.shape[1]]
            return Image.fromarray(np.dstack([luma[..., :1], chroma[..., 1:]]), "YCbCr").convert("RGB")
        if decoder != "chroma":
            image.draft("RGB", (size, size) if decoder == "draft" else halves)
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        image = Image.fromarray((wide >> 8 if depth == "high" else wide.clip(0, 255)).astype(np.uint8))
    if image.has_transparency_data and alpha != "dropped":
        return Image.alpha_composite(Image.new("RGBA", image.size, alpha), image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _planes(data: bytes, sides: tuple[int, int]) -> Pixels:
    image = Image.open(io.BytesIO(data))
    image.draft("YCbCr", sides)
    return np.asarray(image)


def _square(pixels: Pixels, recipe: Recipe) -> Square:
    size, (kind, ratio) = recipe.size, recipe.fit
    down = round if recipe.rounding in ("nearest", "sizes") else lambda x: int(x + 1e-6)
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    if kind == "crop first":
        return _resized(_cropped(pixels, down(shorter * ratio), recipe), recipe, size, size)
    if kind in PADDING:
        part = _resized(pixels, recipe, *(max(1, down(side * size / max(height, width))) for side in (height, width)))
        gaps = [(size - side) // 2 for side in part.shape[:2]]
        around = [(gap, size - side - gap) for gap, side in zip(gaps, part.shape[:2], strict=True)]
        return np.pad(part, [*around, (0, 0)], constant_values=PADDING[kind])
    edge = down(size / ratio)
    sides = [edge if kind == "squash" or side == shorter else down(edge * side / shorter) for side in (height, width)]
    return _cropped(_resized(pixels, recipe, *sides), size, recipe)


def _cropped(pixels: Square, size: int, recipe: Recipe) -> Square:
    gaps = (side - size for side in pixels.shape[:2])
    top, left = (gap // 2 if recipe.rounding in ("floor", "sizes") else round(gap / 2) for gap in gaps)
    return pixels[top : top + size, left : left + size]


def _resized(pixels: Square, recipe: Recipe, height: int, width: int) -> Square:
    library, name = recipe.resize
    if pixels.shape[:2] == (height, width):
        return pixels
    if library == "Pillow":
        return np.asarray(Image.fromarray(pixels).resize((width, height), FILTERS[name]))
    if library == "OpenCV":
        return cv2.resize(pixels, (width, height), interpolation=OPENCV_FLAGS[name])
    # On 8 bits torch has kernels of its own, as in torchvision's transforms v2; v1 rounds what it makes of floats.
    kind = np.uint8 if "8 bits" in library else np.float32
    planes = torch.from_numpy(np.array(pixels, kind)).permute(2, 0, 1)[None]
    resized = functional.interpolate(planes, (height, width), mode=name, antialias="without" not in library)
    resized = resized if "on floats" in library else resized.clamp(0, 255)
    resized = resized if " on " in library else resized.round()
    return np.asarray(resized[0].permute(1, 2, 0).numpy())
