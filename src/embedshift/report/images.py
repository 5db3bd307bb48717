"""Images in the page: small WebP files in `data:` addresses."""

import io

import matplotlib
import numpy as np
from PIL import Image

from embedshift.arrays import Floats, Pixels
from embedshift.figures.render import address

__all__ = ["address", "heat", "shrink", "webp"]

# A map with more cells is reduced to this side, because a thumbnail cannot show more.
HEAT_SIDE = 32
HEAT_COLOURS = "inferno"


def shrink(image: Pixels, side: int) -> Pixels:
    """Shrinks an image so that its longer side has at most `side` pixels, uint8 `[h, w, 3]`."""
    small = Image.fromarray(image)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small)


def webp(image: Pixels, quality: int) -> bytes:
    """Encodes an image, uint8 `[h, w, 3]` or `[h, w, 4]`, as WebP; quality 100 is lossless."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=quality, method=4, lossless=quality == 100)
    return buffer.getvalue()


def heat(attention: Floats) -> Pixels:
    """Returns an attention map as a layer of warm colours: the more attention, the more opaque."""
    low, high = float(attention.min()), float(attention.max())
    scaled = (attention - low) / (high - low) if high > low else np.zeros_like(attention)
    rows, columns = (min(HEAT_SIDE, side) for side in scaled.shape)
    if (rows, columns) != scaled.shape:
        small = Image.fromarray(scaled.astype(np.float32)).resize((columns, rows), Image.Resampling.BILINEAR)
        scaled = np.clip(np.asarray(small), 0, 1)
    pixels = matplotlib.colormaps[HEAT_COLOURS](0.25 + 0.75 * scaled, bytes=True)
    pixels[..., 3] = np.round(230 * scaled)
    return np.asarray(pixels, np.uint8)
