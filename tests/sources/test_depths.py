"""TIFF of every depth and sign: by its own depth, or refused in one line; never dark, bright or inverted by mistake."""

import contextlib
import io
import struct

import numpy as np
import pytest
import tifffile

from embedshift.errors import EmbedshiftError
from embedshift.sources import images
from embedshift.sources.images import decode

RAMP = np.linspace(0, 1, 16)[None].repeat(4, 0)


def packed(bits, white_is_0=False, order="<"):
    """A ramp from 0 to the greatest number of so many bits, packed without gaps, as scanners and cameras write it."""
    rows = []
    for row in (RAMP * (2**bits - 1)).astype(int):
        text = "".join(format(value, f"0{bits}b") for value in row)
        text += "0" * (-len(text) % 8)
        rows.append(bytes(int(text[start : start + 8], 2) for start in range(0, len(text), 8)))
    data = b"".join(rows)
    data += b"\0" * (len(data) % 2)
    tags = {256: 16, 257: 4, 258: bits, 259: 1, 262: int(not white_is_0), 273: 8, 277: 1, 278: 4, 279: len(data)}
    directory = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(tags)) + directory + struct.pack(f"{order}I", 0)


def written(values, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def wanted(bits):
    high = (RAMP * (2**bits - 1)).astype(int) >> (bits - 8)
    return np.stack([high] * 3, -1)


@pytest.mark.parametrize("rows", [1, 100])
def test_twelve_bits_are_twelve_bits(rows, monkeypatch):
    monkeypatch.setattr(images, "STRIP", 16 * rows)  # in strips, and at once
    found = decode(packed(12))
    np.testing.assert_array_equal(found, wanted(12))
    assert found.max() == 255


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [6, 10, 14, 24, 32, 48])
def test_other_depths_are_named(bits, order):
    with pytest.raises(EmbedshiftError, match="bits") as caught:
        decode(packed(bits, order=order))
    line = str(caught.value)
    assert line in (
        f"a TIFF of {bits} bits per channel is not read; convert it to 8 or 16 bits",
        "the image has more than 16 bits per channel; convert it to 8 or 16 bits",
    )


def test_white_is_0_is_inverted_at_every_depth():
    deep = (RAMP * 65535).astype(np.uint16)
    for values, high in ((deep, deep >> 8), ((deep >> 8).astype(np.uint8), deep >> 8)):
        for compression in (None, "zlib"):
            data = written(values, photometric="miniswhite", compression=compression)
            np.testing.assert_array_equal(decode(data), np.stack([255 - high] * 3, -1))


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32])
@pytest.mark.parametrize("channels", [1, 3])
def test_signed_pixels_are_refused(kind, channels):
    values = (RAMP * np.iinfo(kind).max).astype(kind)
    values = values if channels == 1 else np.stack([values] * 3, -1)
    with pytest.raises(EmbedshiftError, match=r"signed pixels|bits per channel is not read|not an image in a known"):
        decode(written(values, photometric="rgb" if channels == 3 else "minisblack"))


@pytest.mark.parametrize("most", [1, 255, 65_535, 2**32 - 1])
def test_thirty_two_bits_are_refused_whatever_they_hold(most):
    """Values of 8 or 16 bits in 32 would be black by their depth, and of another range by their values."""
    with pytest.raises(EmbedshiftError, match="the image has more than 16 bits per channel; convert it to 8 or 16"):
        decode(written((RAMP * most).astype(np.uint32)))


@pytest.mark.filterwarnings("error")
def test_damaged_directories_bring_no_word_of_a_library(capfd):
    data = packed(10)
    for cut in range(0, len(data), 7):
        for damaged in (data[:cut], data[:cut] + b"\xff" * 12 + data[cut + 12 :]):
            with contextlib.suppress(EmbedshiftError):
                decode(damaged)
    assert capfd.readouterr().err == ""
