"""Half a picture is refused where its format has a length, a checksum or an end; where it has none, that is pinned."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from skimage import data as skimage_data

from embedshift import EmbedshiftError
from embedshift.sources import images
from embedshift.sources.images import decode
from support.hostile.encodings import PHOTO, encoded, png_of

LARGE = np.asarray(Image.fromarray(skimage_data.astronaut()).resize((320, 300)))
EOI = b"\xff\xd9"
JPEGS = {
    "baseline": {},
    "4:4:4": {"subsampling": 0},
    "restarts": {"restart_marker_rows": 1},
    "optimized": {"optimize": True},
    "progressive": {"progressive": True},
}


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("zeros", [0, 1, 20])
def test_a_jpeg_cut_anywhere_is_refused_with_zeros_behind_too(kind, zeros):
    data = encoded(LARGE, "JPEG", **JPEGS[kind])
    first = data.index(b"\xff\xda") / len(data)
    for fraction in np.linspace(first + 0.05, 0.99, 25):
        with pytest.raises(EmbedshiftError, match="damaged or ends early"):
            decode(data[: int(len(data) * fraction)] + bytes(zeros * len(data)))


@pytest.mark.parametrize("kind", [kind for kind in JPEGS if kind != "progressive"])
def test_a_jpeg_cut_with_an_end_glued_on_is_refused(kind):
    """Decoders put grey where codes are missing, and say nothing."""
    data = encoded(LARGE, "JPEG", **JPEGS[kind])
    first = data.index(b"\xff\xda") / len(data)
    for fraction in np.linspace(first + 0.05, 0.97, 15):
        with pytest.raises(EmbedshiftError, match="damaged or ends early"):
            decode(data[: int(len(data) * fraction)] + EOI)


def test_a_progressive_jpeg_with_an_end_glued_on_is_refused_in_its_first_scan_only():
    """Later scans refine what is there: a picture without them is blurred, as it was on the way."""
    data = encoded(LARGE, "JPEG", progressive=True)
    first, second = data.index(b"\xff\xda"), data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    for cut in np.linspace(first + 40, second - 300, 9):
        with pytest.raises(EmbedshiftError, match="damaged or ends early"):
            decode(data[: int(cut)] + EOI)
    found = decode(data[: int(len(data) * 0.8)] + EOI)
    assert 0 < np.abs(found.astype(int) - decode(data)).mean() < 6


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_whole_jpeg_has_the_pixels_that_pillow_gives(kind, mode):
    options = {name: value for name, value in JPEGS[kind].items() if name != "subsampling" or mode == "RGB"}
    for side in (1, 7, 8, 9, 16, 17, 100):
        data = encoded(Image.fromarray(LARGE[:side, : 2 * side]).convert(mode), "JPEG", quality=90, **options)
        with Image.open(io.BytesIO(data)) as image:
            np.testing.assert_array_equal(decode(data), np.asarray(image.convert("RGB")), err_msg=str(side))


def test_zeros_inside_a_jpeg_are_not_promised():
    """Zeros are codes too: the picture has its size and is altered, or the codes run out and it is refused."""
    data = encoded(LARGE, "JPEG")
    full, outcomes = decode(data), set()
    for fraction in np.linspace(0.2, 0.9, 15):
        at = int(len(data) * fraction)
        try:
            found = decode(data[:at] + bytes(64) + data[at + 64 :])
        except EmbedshiftError as error:
            outcomes.add("refused")
            assert "damaged or ends early" in str(error)  # noqa: PT017
        else:
            assert found.shape == full.shape
            outcomes.add("altered")
    assert outcomes <= {"refused", "altered"}


@pytest.mark.parametrize("options", [{}, {"quality": 95}], ids=str)
def test_a_webp_with_a_tail_of_zeros_is_refused(options):
    data = encoded(LARGE, "WEBP", **options)
    for fraction in (0.3, 0.5, 0.7, 0.9, 0.97):
        kept = int(len(data) * fraction)
        with pytest.raises(EmbedshiftError, match="damaged or ends early"):
            decode(data[:kept] + bytes(len(data) - kept))


def test_whole_webps_that_end_in_zeros_are_measured():
    for level in (0, 127, 255):
        flat = np.full((600, 800, 3), level, np.uint8)
        data = encoded(flat, "WEBP", quality=100, method=0)
        assert data.endswith(bytes(100))
        assert np.abs(decode(data).astype(int) - level).max() <= 1


def test_zeros_behind_a_lossless_webp_are_not_promised():
    """Its codes may be zeros for the rest of the picture: some pass, and look like a picture of one colour below."""
    data, outcomes = encoded(LARGE, "WEBP", lossless=True), set()
    for fraction in np.linspace(0.1, 0.9, 9):
        kept = int(len(data) * fraction)
        try:
            outcomes.add(decode(data[:kept] + bytes(len(data) - kept)).shape)
        except EmbedshiftError:
            outcomes.add("refused")
    assert outcomes <= {LARGE.shape, "refused"}


@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
def test_zeros_in_raw_pixels_are_not_promised(kind):
    """Nothing tells them from black: the lines that were lost are black, and no others are altered."""
    data = encoded(PHOTO, kind)
    kept = len(data) // 2
    found = decode(data[:kept] + bytes(len(data) - kept)) if kind == "BMP" else decode(zeroed_strip(data))
    same = (found == PHOTO).all(axis=(1, 2))
    black = ~found.any(axis=(1, 2))
    assert 20 < same.sum() < len(PHOTO)
    assert (same | black).sum() >= len(PHOTO) - 1


def zeroed_strip(data):
    """A TIFF whose pixels, which stand before its directory or behind it, end in zeros."""
    start = data.index(PHOTO[0].tobytes())
    end = start + PHOTO.nbytes
    return data[: start + PHOTO.nbytes // 2] + bytes(end - start - PHOTO.nbytes // 2) + data[end:]


def test_pictures_in_strips_are_those_in_one_piece(monkeypatch):
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 8
    alpha = np.dstack([PHOTO, rng.integers(0, 256, PHOTO.shape[:2], dtype=np.uint8)])
    indexed = Image.fromarray(PHOTO).quantize(16)
    deep = rng.integers(0, 65536, PHOTO.shape[:2], dtype=np.uint16)
    files = {
        "rgb": encoded(PHOTO, "PNG"),
        "alpha": encoded(alpha, "PNG"),
        "palette": encoded(indexed, "PNG", transparency=bytes(range(0, 256, 16))),
        "16 bit": png_of(deep, 0),
        "16 bit tiff": encoded(Image.fromarray(deep), "TIFF"),
        "cmyk": encoded(Image.fromarray(PHOTO).convert("CMYK"), "TIFF"),
        "turned": encoded(PHOTO, "JPEG", exif=exif),
        "bilevel": encoded(Image.fromarray(PHOTO[..., 0] > 99), "PNG"),
        "gif": encoded(indexed, "GIF", transparency=3),
    }
    whole = {name: decode(data) for name, data in files.items()}
    monkeypatch.setattr(images, "STRIP", 1000)
    for name, data in files.items():
        np.testing.assert_array_equal(decode(data), whole[name], err_msg=name)


@pytest.mark.parametrize("said", [(0, 0, 0), (0, 63, 1)])
def test_what_a_sequential_scan_says_of_its_coefficients_is_ignored_as_decoders_do(said):
    data = bytearray(encoded(PHOTO, "JPEG"))
    at = data.index(b"\xff\xda") + 4 + int.from_bytes(data[data.index(b"\xff\xda") + 2 :][:2], "big") - 5
    assert bytes(data[at : at + 3]) == bytes([0, 63, 0])
    data[at : at + 3] = bytes(said)
    np.testing.assert_array_equal(decode(bytes(data)), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_a_png_with_a_large_text_behind_its_pixels_is_whole():
    data, text = png_of(PHOTO, 2), b"Comment\0\0" + zlib.compress(bytes(3_000_000))
    chunk = struct.pack(">I4s", len(text), b"zTXt") + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    end = data.index(b"IEND") - 4
    np.testing.assert_array_equal(decode(data[:end] + chunk + data[end:]), PHOTO)
