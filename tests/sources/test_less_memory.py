"""A still WebP and a large progressive JPEG have the pixels that Pillow loads; OpenCV decodes them, in less memory."""

import io

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin
from skimage import data as skimage_data

from embedshift import EmbedshiftError
from embedshift.sources import images
from embedshift.sources.images import decode

PICTURE = Image.fromarray(skimage_data.astronaut()[100:190, 170:290])
# What a broken download may end in.
MARKS = (b"", b"\xff\xd9", bytes(40))


def outcome(data):
    """The pixels, or the words of the refusal."""
    try:
        return decode(data).tolist()
    except EmbedshiftError as error:
        return str(error)


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


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2}, {"subsampling": 0, "keep_rgb": True}])
def test_a_large_progressive_jpeg_has_the_pixels_that_pillow_loads(options, monkeypatch):
    for size in ((120, 90), (119, 61), (1, 90), (120, 1)):
        for picture in (PICTURE, Image.new("RGB", PICTURE.size, (128, 128, 128))):  # a decoder's grey is read twice
            file = io.BytesIO()
            picture.crop((0, 0, *size)).save(file, "JPEG", progressive=True, quality=60, **options)
            monkeypatch.setattr(images, "STRIP", 0)
            with monkeypatch.context() as without_pillow:
                without_pillow.setattr(JpegImagePlugin.JpegImageFile, "load", None)
                decoded = decode(file.getvalue())
            np.testing.assert_array_equal(decoded, np.asarray(Image.open(file)))


def test_a_large_progressive_jpeg_that_ends_early_is_refused_as_a_small_one_is(monkeypatch):
    PICTURE.save(file := io.BytesIO(), "JPEG", progressive=True)
    whole = file.getvalue()
    broken = [whole[:end] + mark for end in range(len(whole) // 4, len(whole), 200) for mark in MARKS]
    outcomes = []
    for strip in (images.STRIP, 0):
        monkeypatch.setattr(images, "STRIP", strip)
        outcomes.append([outcome(data) for data in broken])
    assert outcomes[0] == outcomes[1]
    refused = [words for words in outcomes[0] if isinstance(words, str)]
    assert len(outcomes[0]) // 2 < len(refused) < len(outcomes[0])
