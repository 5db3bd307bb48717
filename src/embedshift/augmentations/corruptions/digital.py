"""Digital corruptions: contrast, pixelation, JPEG and saturation; `elastic.py` has elastic_transform."""

import io

import numpy as np
from PIL import Image

from embedshift.arrays import Pixels
from embedshift.augmentations.changes import Tones, shorter, size_of
from embedshift.augmentations.corruptions.standard import SIDE, add, at, to_pixels

# The published constants of the five severities.
CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
PIXELS = (0.6, 0.5, 0.4, 0.3, 0.25)
QUALITY = (25, 18, 15, 10, 7)


def contrast(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Lower contrast: the distance of each value from its channel's mean is multiplied by c."""
    c = np.float32(at(severity, *CONTRAST))
    means = (image.sum(axis=(0, 1)) / (image.size // 3)).astype(np.float32)
    return to_pixels((image - means) * c + means)


def pixelate(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Pixelation: the means over boxes, enlarged; the number of boxes along the shorter side is always the same."""
    few = int(SIDE * at(severity, *PIXELS))
    height, width = (max(1, round(length * few / shorter(size_of(image)))) for length in size_of(image))
    small = Image.fromarray(image).resize((width, height), Image.Resampling.BOX)
    return np.asarray(small.resize(image.shape[1::-1], Image.Resampling.BOX))


def jpeg_compression(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """JPEG compression by Pillow; a block has 8 x 8 pixels at every view size."""
    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG", quality=at(severity, *QUALITY))
    return np.asarray(Image.open(data))


def saturate(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Stronger or weaker colours: the saturation s of HSV becomes c s + d."""
    c, d = at(severity, (0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))
    high = image.max(axis=2).astype(np.float32)
    missing = high[..., None] - image
    spread = missing.max(axis=2)
    saturation = spread / np.maximum(high, 1)
    after = np.clip(np.float32(c) * saturation + np.float32(d), 0, 1)
    grey = spread == 0
    missing[grey] = (0, 1, 1)
    factor = high * after / np.where(grey, 1, spread)
    return to_pixels(high[..., None] - factor[..., None] * missing)


add("contrast", Tones(contrast), c=CONTRAST)
add("pixelate", Tones(pixelate), factor=PIXELS)
add("jpeg_compression", Tones(jpeg_compression), quality=QUALITY)
add("saturate", Tones(saturate))
