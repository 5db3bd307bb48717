"""The suite `corruptions`: ImageNet-C's corruptions at five severities, written from the published parameters.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019,
arXiv 1903.12261; parameters of `make_imagenet_c.py` in their repository `hendrycks/robustness`. Here is what the
corruptions share, and frost, whose textures are files of the user.
"""

import hashlib
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from PIL import Image

from embedshift.arrays import Floats, Pixels
from embedshift.augmentations.augmentation import Augmentation, Choice
from embedshift.augmentations.changes import Change, Sides, shorter, sides, size_of
from embedshift.augmentations.family import FAMILIES, Family, family_augmentations
from embedshift.augmentations.suite import SUITES
from embedshift.config.safe_files import read_file
from embedshift.errors import UsageError

log = logging.getLogger(__name__)

T = TypeVar("T")

# Side of the published images in pixels: every published length is for it.
SIDE = 224
SEVERITIES = (1, 2, 3, 4, 5)


def corruption(name: str, change: Change, **fields: Any) -> Family:
    """Makes a corruption as a family; its parameter is the severity, and only the five published ones exist."""
    return Family(name, "corruptions", change, "severity", 0, SEVERITIES, integer=True, published=True, **fields)


def add(name: str, change: Change, version: int = 1, **constants: Sequence[float]) -> None:
    FAMILIES.add(name, corruption(name, change, version=version, constants=constants))


def at(severity: float, *published: T) -> T:
    return published[int(severity) - 1]


def to_pixels(levels: Any) -> Pixels:
    """Converts grey levels to uint8; drops the fraction, as the published files do."""
    return np.asarray(np.clip(levels, 0, 255).astype(np.uint8))


def scale_of(of: Sides) -> float:
    return shorter(of) / SIDE


def to_side(layer: Any, of: Sides) -> Any:
    """Stretches a layer drawn at 224 x 224 over the view."""
    height, width = sides(of)
    if layer.shape[:2] == (height, width):
        return layer
    interpolation = cv2.INTER_LINEAR if min(height, width) > len(layer) else cv2.INTER_AREA
    return cv2.resize(layer, (width, height), interpolation=interpolation)


def gaussian_blurred(image: Any, sigma: float) -> Floats:
    """Blurs by a Gaussian cut at four sigma, in float32; the edge is repeated beyond the image."""
    size = 2 * int(4 * sigma + 0.5) + 1
    blurred = cv2.GaussianBlur(np.asarray(image, np.float32), (size, size), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)


def enlarged(image: Any, factor: float) -> Floats:
    """Enlarges the middle of an image `[H, W]` or `[H, W, 3]`, float32, to the size of the image, bilinearly."""
    height, width = image.shape[:2]
    (across, left), (down, top) = enlargement(width, factor), enlargement(height, factor)
    matrix = np.array([[across, 0, left], [0, down, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def enlargement(side: int, factor: float) -> tuple[float, float]:
    """Returns step and start of `enlarged`: a pixel's place in the image is step times its own place plus start."""
    middle = int(np.ceil(side / factor))
    return (middle - 1) / max(1, round(middle * factor) - 1), (side - middle) // 2


def motion_kernel(radius: int, sigma: float, angle: float) -> tuple[Floats, tuple[int, int]]:
    """Returns the kernel of a motion blur, one-sided as in ImageMagick, and its anchor."""
    along = np.arange(2 * radius + 1)
    turn = np.deg2rad(angle)
    across = np.ceil(along * np.cos(turn) - 0.5).astype(int)
    down = np.ceil(along * np.sin(turn) - 0.5).astype(int)
    anchor = -int(across.min()), -int(down.min())
    kernel = np.zeros((int(np.ptp(down)) + 1, int(np.ptp(across)) + 1))
    np.add.at(kernel, (down + anchor[1], across + anchor[0]), np.exp(-(along**2) / (2 * sigma**2)))
    return (kernel / kernel.sum()).astype(np.float32), anchor


def motion_blurred(image: Any, kernel: Floats, anchor: Sequence[int]) -> Floats:
    """Blurs an image by a `motion_kernel`, in float32; the edge is repeated beyond the image."""
    blurred = cv2.filter2D(image, cv2.CV_32F, kernel, anchor=anchor, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)


FROST = "frost"


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


def _frost(folder: str) -> Family:
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
    return corruption(FROST, Frost(textures), extra={"textures": hashes.hexdigest()})


def _large(texture: Pixels) -> Pixels:
    """Returns a texture whose shorter side has at least 224 pixels."""
    height, width = texture.shape[:2]
    factor = SIDE / min(height, width)
    if factor <= 1:
        return texture
    size = max(SIDE, round(width * factor)), max(SIDE, round(height * factor))
    return np.asarray(cv2.resize(texture, size, interpolation=cv2.INTER_CUBIC), np.uint8)


# The fifteen corruptions of the standard's mean, in its order.
STANDARD = (
    "gaussian_noise", "shot_noise", "impulse_noise",
    "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness",
    "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip


def corruptions(choice: Choice) -> list[Augmentation]:
    textures = choice.frost_textures
    names = choice.families or tuple(name for name in STANDARD if name != FROST or textures is not None)
    if not choice.families and textures is None:
        log.info("skipping frost: it needs `frost_textures`, a folder of frost images")
    if FROST in names and textures is None:
        raise UsageError("families: frost needs a folder of frost images; give it as `frost_textures`")
    others = [] if textures is None or FROST not in names else [_frost(textures)]
    return family_augmentations("corruptions", choice, names, others)


SUITES.add("corruptions", corruptions)
