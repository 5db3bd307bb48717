"""The corruption frost: lays an image of frost, from a folder of the user, over the view."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from embedshift.arrays import Pixels
from embedshift.augmentations.changes import Change, size_of
from embedshift.augmentations.corruptions.standard import SIDE, at, corruption, to_pixels, to_side
from embedshift.augmentations.family import Family
from embedshift.config.safe_files import read_file
from embedshift.errors import UsageError

NAME = "frost"


class Frost(Change):
    """Lays a square of one texture over the image: c x + d texture."""

    def __init__(self, textures: Sequence[Pixels]) -> None:
        self._textures = [_large(texture) for texture in textures]

    def __call__(self, image: Pixels, parameter: float, rng: np.random.Generator) -> Pixels:
        kept, added = at(parameter, (1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
        texture = self._textures[rng.integers(len(self._textures))]
        top, left = (rng.integers(length - SIDE + 1) for length in texture.shape[:2])
        frost = to_side(texture[top : top + SIDE, left : left + SIDE], size_of(image))
        return to_pixels(np.float32(kept) * image + np.float32(added) * frost)


def frost_family(folder: str) -> Family:
    """Returns the corruption with the images of a folder; their bytes, in the order of their names, identify it."""
    # Its package also holds archives, whose readers a measure must not import.
    from embedshift.sources.base import ENDINGS, IMAGE_BYTES

    if not Path(folder).is_dir():
        raise UsageError(f"`frost_textures`: {folder} is not a folder; give a folder of frost images")
    files = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in ENDINGS and path.name[0] != ".")
    if not files:
        raise UsageError(f"`frost_textures`: no image in {folder}; give a folder of frost images")
    hashes, textures = hashlib.blake2b(digest_size=16), []
    for path in files:
        try:
            data = read_file(path, IMAGE_BYTES)
            textures.append(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
        except Exception as error:
            reason = getattr(error, "strerror", None) or "not a complete image in a known format"
            raise UsageError(
                f"`frost_textures`: {path} cannot be read ({reason}); remove it from the folder"
            ) from error
        hashes.update(hashlib.blake2b(data).digest())
    return corruption(NAME, Frost(textures), extra={"textures": hashes.hexdigest()})


def _large(texture: Pixels) -> Pixels:
    """Returns a texture whose shorter side has at least 224 pixels."""
    height, width = texture.shape[:2]
    factor = SIDE / min(height, width)
    if factor <= 1:
        return texture
    size = max(SIDE, round(width * factor)), max(SIDE, round(height * factor))
    return np.asarray(cv2.resize(texture, size, interpolation=cv2.INTER_CUBIC), np.uint8)
