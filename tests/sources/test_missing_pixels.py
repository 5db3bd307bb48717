"""Pixels that are missing where a decoder says nothing are found; whole pictures that look like them are measured."""

import io
import itertools
import zlib

import numpy as np
import pytest
from PIL import Image

from embedshift import EmbedshiftError
from embedshift.sources import completeness
from embedshift.sources.images import decode
from support.hostile.encodings import GREY, PHOTO, chunk, encoded, interlaced_png, png, png_of, three
from support.malformed import jpeg_parts, tiff_parts, webps

PART = PHOTO[:20, :30]
ALPHA = np.full_like(PART[..., :1], 255)
PNGS = {
    "colours": png_of(PART, 2),
    "grey": png_of(PART[..., 0], 0),
    "grey of 16 bits": png_of(PART[..., 0].astype(np.uint16) * 257, 0),
    "alpha": png_of(np.dstack([PART, ALPHA]), 6),
    "grey and alpha": png_of(np.dstack([PART[..., 0], ALPHA]), 4),
    "palette": encoded(Image.fromarray(PART).quantize(8), "PNG"),
    "interlaced": interlaced_png(PART),
}


def with_lines(data, change):
    """A PNG whose lines are changed, with right checksums."""
    start = data.index(b"IDAT") - 4
    length = int.from_bytes(data[start : start + 4], "big")
    codes = zlib.compress(change(zlib.decompress(data[start + 8 : start + 8 + length])))
    return data[:start] + chunk(b"IDAT", codes) + data[start + 12 + length :]


@pytest.mark.parametrize("kind", PNGS)
def test_a_png_whose_codes_end_early_is_refused_though_all_checksums_are_right(kind):
    data = PNGS[kind]
    whole = decode(data)
    assert not completeness.lacks_lines(data)
    np.testing.assert_array_equal(decode(with_lines(data, lambda lines: lines + bytes(99))), whole)
    for part in np.linspace(0, 0.97, 12):
        cut = with_lines(data, lambda lines, part=part: lines[: int(len(lines) * part)])
        assert completeness.lacks_lines(cut)
        with pytest.raises(EmbedshiftError, match="damaged or ends early"):
            decode(cut)


def test_a_png_that_ends_in_black_is_whole():
    dark = PART * (np.arange(20) < 12)[:, None, None].astype(np.uint8)
    for black in (dark, np.zeros_like(PART)):
        for data in (png_of(black, 2), interlaced_png(black), png_of(np.dstack([black, ALPHA]), 6)):
            np.testing.assert_array_equal(decode(data), black)


def test_lines_are_counted_by_hand():
    for width, height, depth, colour in ((1, 1, 1, 0), (9, 3, 1, 0), (5, 2, 4, 3), (3, 3, 16, 6)):
        line = 1 + -(-width * depth * {0: 1, 3: 1, 6: 4}[colour] // 8)
        assert not completeness.lacks_lines(png(width, height, depth, colour, bytes(line * height)))
        assert completeness.lacks_lines(png(width, height, depth, colour, bytes(line * height - 1)))


OPTIONS = [
    {"quality": quality, **each}
    for quality, each in itertools.product(
        (20, 95),
        ({}, {"optimize": True}, {"progressive": True}, {"restart_marker_blocks": 1}, {"restart_marker_rows": 1}),
    )
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_jpeg_that_ends_in_grey_is_whole(options):
    """Grey is what decoders put where codes are missing, and what many pictures have in a corner."""
    for mode, height, width, part in itertools.product(("RGB", "L", "CMYK"), (7, 33), (8, 50), (0, 0.5, 1)):
        values = np.full((height, width, 3), 128, np.uint8)
        values[: int(height * part) - 1] = PHOTO[: int(height * part) - 1, :width] if part else 128
        level = (
            Image.fromarray(values).convert(mode) if mode != "CMYK" else Image.new(mode, (width, height), (128,) * 4)
        )
        data = encoded(level, "JPEG", **options)
        with Image.open(io.BytesIO(data)) as image:
            np.testing.assert_array_equal(decode(data), np.asarray(image.convert("RGB")))
        if "progressive" not in options:
            assert not completeness.lacks_restarts(data)


def test_restarts_are_counted():
    whole = jpeg_parts.RESTARTS
    assert not completeness.lacks_restarts(whole)
    assert completeness.lacks_restarts(whole.replace(b"\xff\xd3", b"", 1))
    assert completeness.lacks_restarts(jpeg_parts.edited(whole, 0xDD, lambda content: b"\0\7"))
    assert completeness.lacks_restarts(jpeg_parts.edited(whole, 0xDD, lambda content: None))
    halved = encoded(GREY, "JPEG", restart_marker_blocks=5)
    assert not completeness.lacks_restarts(halved)


def test_the_scans_of_a_jpeg_are_found():
    assert completeness.jpeg_scans(jpeg_parts.PLAIN) == (0xC0, True)
    assert completeness.jpeg_scans(jpeg_parts.PROGRESSIVE) == (0xC2, True)
    assert completeness.jpeg_scans(jpeg_parts.lossless(GREY[:4, :4])) == (0xC3, True)
    assert completeness.jpeg_scans(jpeg_parts.PLAIN[:300]) == (0xC0, False)


def damaged_fax():
    data = encoded(Image.fromarray(GREY > 127), "TIFF", compression="group4")
    np.testing.assert_array_equal(decode(data), three(255 * (GREY > 127)))
    middle = len(data) // 2
    return data[:middle] + b"\xff\xff\0\x10\x01" + data[middle + 5 :]


def half_a_jpeg():
    tags = {tiff_parts.COMPRESSION: 7, tiff_parts.PHOTOMETRIC: 6, tiff_parts.SUBSAMPLING: [1, 1]}
    whole, half = (encoded(PHOTO[:rows], "JPEG", subsampling=0) for rows in (90, 48))
    np.testing.assert_array_equal(decode(tiff_parts.plain(PHOTO, tags, whole)), decode(whole))
    return tiff_parts.plain(PHOTO, tags, half)


@pytest.mark.parametrize("damaged", [damaged_fax, half_a_jpeg])
def test_a_damaged_tiff_shows_the_same_pixels_whatever_the_memory_held(damaged):
    data, shown = damaged(), set()
    for level in range(12):
        for size in range(100, 60_000, 2000):
            np.full(size, level * 37 % 256, np.uint8)
        shown.add(decode(data).tobytes())
    assert len(shown) == 1


def test_a_film_is_clear_and_not_black_where_no_frame_is():
    frame = encoded(PART, "WEBP", lossless=True, save_all=True, append_images=[Image.fromarray(PART[::-1])])
    assert completeness.with_alpha(frame) == frame[:20] + bytes([frame[20] | 0x10]) + frame[21:]
    np.testing.assert_array_equal(decode(frame), PART)
    still = webps.still(PART)
    assert completeness.with_alpha(still) == still


@pytest.mark.parametrize("rows", [1, 3, 7, 20])
def test_a_tiff_with_a_strip_too_few_is_refused(rows):
    whole = tiff_parts.strips(PART, rows)
    np.testing.assert_array_equal(decode(whole), PART)
    with pytest.raises(EmbedshiftError, match="do not cover it"):
        decode(tiff_parts.strips(PART, rows, {tiff_parts.ROWS: 20 + rows, tiff_parts.STRIP_ROWS: rows}))
