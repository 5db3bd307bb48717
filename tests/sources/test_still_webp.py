"""A still WebP has the pixels that Pillow loads; OpenCV decodes it, in less memory."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage import data as skimage_data

from embedshift.sources.images import decode

PICTURE = Image.fromarray(skimage_data.astronaut()[100:190, 170:290])


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_a_still_webp_has_the_pixels_that_pillow_loads(with_alpha, lossless):
    stored = PICTURE.copy()
    if with_alpha:
        stored.putalpha(Image.linear_gradient("L").resize(stored.size))
    exif = Image.Exif()
    exif[0x0112] = 3
    for size in ((120, 90), (119, 61), (1, 90), (120, 1)):  # colours of half the size are enlarged
        file = io.BytesIO()
        stored.crop((0, 0, *size)).save(
            file, "WEBP", lossless=lossless, quality=40, exif=exif, icc_profile=b"a profile", xmp=b"<x/>"
        )
        loaded = Image.open(file).convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", size, "white"), loaded).convert("RGB")
        np.testing.assert_array_equal(decode(file.getvalue()), np.asarray(flat)[::-1, ::-1])


@pytest.mark.parametrize(("flags", "with_alpha"), [(0x00, True), (0x20, True), (0x10, False)])
def test_a_header_that_is_wrong_about_alpha(flags, with_alpha):
    """The codes decide, as in Pillow: a canvas may deny their alpha, or promise what they lack."""
    stored = PICTURE.convert("RGB")
    if with_alpha:
        stored.putalpha(Image.linear_gradient("L").resize(stored.size))
    stored.save(file := io.BytesIO(), "WEBP", lossless=True)
    sides = b"".join((side - 1).to_bytes(3, "little") for side in stored.size)
    codes = file.getvalue()[file.getvalue().index(b"VP8L") :]
    content = b"WEBPVP8X" + (10).to_bytes(4, "little") + bytes([flags, 0, 0, 0]) + sides + codes
    data = b"RIFF" + len(content).to_bytes(4, "little") + content
    loaded = Image.open(io.BytesIO(data)).convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", loaded.size, "white"), loaded).convert("RGB")
    np.testing.assert_array_equal(decode(data), np.asarray(flat))
