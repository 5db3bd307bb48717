"""From a file's bytes to the normalised input of a network, by a recipe."""

import functools
import io
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageOps

from embedshift.arrays import Floats, Pixels
from embedshift.parity.network import resize_by_torch
from embedshift.parity.recipe import PILLOW, TORCH, Recipe
from embedshift.sources.images import decode

ORIENTATION = 0x0112
FILTERS = {name: Image.Resampling(number) for number, name in PILLOW.items()}
OPENCV_FLAGS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
    "area": cv2.INTER_AREA,
}
PADDING = {"black": 0, "grey": 127, "white": 255}
# Decoded images that are kept.
KEPT = 48


class Inputs:
    """The inputs that recipes make of files."""

    def __init__(self, files: Sequence[bytes]) -> None:
        self.files = files
        self._pixels = functools.lru_cache(KEPT)(self._decoded)

    def __call__(self, recipe: Recipe, index: int) -> Floats:
        """The normalised input `[3, S, S]` of one file."""
        r = recipe
        pixels = self._pixels(index, r.decoder, r.orientation, r.alpha, r.inks, r.depth, r.jpeg, r.size)
        values = _square(pixels, r).astype(np.float32) / np.float32(255) * np.float32(r.values)
        mean, std = (np.asarray(triple, np.float32) for triple in r.statistics)
        values = (values[..., :: -1 if r.channels == "bgr" else 1] - mean) / std
        return np.ascontiguousarray(values[..., :: -1 if r.channels == "late" else 1].transpose(2, 0, 1))

    def _decoded(
        self,
        index: int,
        decoder: str,
        orientation: bool,
        alpha: str,
        inks: str,
        depth: str,
        jpeg: int | None,
        size: int,
    ) -> Pixels:
        data = self.files[index]
        if (decoder, orientation, alpha, inks, depth) == ("full", True, "white", "pillow", "high"):
            pixels = decode(data)
        else:
            with Image.open(io.BytesIO(data)) as image:
                turn = image.getexif().get(ORIENTATION, 1) if orientation else 1
                rgb = _rgb(image, data, decoder, alpha, inks, depth, size)
            rgb.getexif()[ORIENTATION] = turn
            pixels = np.asarray(ImageOps.exif_transpose(rgb))
        if jpeg:
            coded = io.BytesIO()
            Image.fromarray(pixels).save(coded, "JPEG", quality=jpeg)
            pixels = np.asarray(Image.open(coded).convert("RGB"))
        return pixels


def _rgb(image: Image.Image, data: bytes, decoder: str, alpha: str, inks: str, depth: str, size: int) -> Image.Image:
    """Decodes an image that is not turned."""
    if image.mode == "CMYK" and inks == "opencv":
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        return Image.fromarray(cv2.imdecode(np.frombuffer(data, np.uint8), flags)[..., ::-1].copy())
    if image.format == "JPEG" and image.mode == "RGB":
        if decoder == "chroma" and (repeated := _repeated_chroma(data)) is not None:
            return repeated
        if decoder == "half":
            image.draft("RGB", (image.width // 2, image.height // 2))
        elif decoder == "draft":
            image.draft("RGB", (size, size))
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        image = Image.fromarray((values >> 8 if depth == "high" else values.clip(0, 255)).astype(np.uint8))
    if image.has_transparency_data and alpha != "dropped":
        return Image.alpha_composite(Image.new("RGBA", image.size, alpha), image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _repeated_chroma(data: bytes) -> Image.Image | None:
    """Decodes a JPEG whose chroma has half the size, with every chroma value repeated; None for other JPEGs."""
    planes = []
    for divisor in (1, 2):
        image = Image.open(io.BytesIO(data))
        image.draft("YCbCr", (image.width // divisor, image.height // divisor))
        if image.mode != "YCbCr":
            return None
        planes.append(np.asarray(image))
    luma, half = planes
    if {layer[1:3] for layer in getattr(image, "layer", ())} != {(2, 2), (1, 1)}:
        return None
    chroma = half.repeat(2, axis=0).repeat(2, axis=1)[: luma.shape[0], : luma.shape[1], 1:]
    return Image.fromarray(np.dstack([luma[..., :1], chroma]), "YCbCr").convert("RGB")


def _square(pixels: Pixels, recipe: Recipe) -> Pixels | Floats:
    """Makes the square input of an image, in [0, 255]."""
    size, (kind, ratio) = recipe.size, recipe.fit
    down = (lambda x: int(x + 1e-6)) if recipe.rounding != "nearest" else round
    height, width = pixels.shape[:2]
    if kind == "crop first":
        side = down(min(height, width) * ratio)
        return _resized(_cropped(pixels, side, recipe.rounding), size, size, recipe)
    if kind in PADDING:
        scale = size / max(height, width)
        part = _resized(pixels, max(1, down(height * scale)), max(1, down(width * scale)), recipe)
        square = np.full((size, size, 3), PADDING[kind], part.dtype)
        top, left = (size - part.shape[0]) // 2, (size - part.shape[1]) // 2
        square[top : top + part.shape[0], left : left + part.shape[1]] = part
        return square
    edge = down(size / ratio)
    shorter = min(height, width)
    sides = [edge if kind == "squash" or side == shorter else down(edge * side / shorter) for side in (height, width)]
    return _cropped(_resized(pixels, sides[0], sides[1], recipe), size, recipe.rounding)


def _cropped(pixels: Pixels | Floats, size: int, rounding: str) -> Pixels | Floats:
    top, left = ((n - size) // 2 if rounding == "floor" else round((n - size) / 2) for n in pixels.shape[:2])
    return pixels[top : top + size, left : left + size]


def _resized(pixels: Pixels | Floats, height: int, width: int, recipe: Recipe) -> Pixels | Floats:
    library, name = recipe.resize
    if pixels.shape[:2] == (height, width):
        return pixels
    if library == "Pillow":
        return np.asarray(Image.fromarray(pixels).resize((width, height), FILTERS[name]))
    if library == "OpenCV":
        return np.asarray(cv2.resize(pixels, (width, height), interpolation=OPENCV_FLAGS[name]))
    how = TORCH[library]
    return resize_by_torch(pixels, height, width, name, antialias="without" not in how, rounded="8 bits" in how)
