"""Bytes → pixels: all of the picture, by its content, or a refusal in words."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data as skimage_data

from embedshift import EmbedshiftError
from embedshift.sources import images
from embedshift.sources.images import decode

PHOTO = skimage_data.astronaut()[100:190, 170:290]
RNG = np.random.default_rng(0)


def encoded(picture, kind, **options):
    buffer = io.BytesIO()
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, depth, colour, lines, *extra):
    """A PNG written by hand, for what Pillow does not write: 16-bit channels, transparent colours, huge headers."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def sixteen(values, colour, *extra):
    values = np.asarray(values, ">u2")
    lines = b"".join(b"\0" + line.tobytes() for line in values)
    return png(values.shape[1], values.shape[0], 16, colour, lines, *extra)


def whole_or_nothing(cut, full):
    """Whether the bytes decode; asserts that the picture is then the whole one."""
    try:
        found = decode(cut)
    except EmbedshiftError:
        return False
    np.testing.assert_array_equal(found, full)
    return True


picture = Image.fromarray(PHOTO)
FILES = {
    "jpeg": encoded(picture, "JPEG"),
    "jpeg progressive": encoded(picture, "JPEG", progressive=True),
    "jpeg with restart markers": encoded(picture, "JPEG", restart_marker_rows=1),
    "jpeg grey": encoded(picture.convert("L"), "JPEG"),
    "jpeg CMYK": encoded(picture.convert("CMYK"), "JPEG"),
    "png": encoded(picture, "PNG"),
    "png palette": encoded(picture.quantize(32), "PNG"),
    "webp": encoded(picture, "WEBP"),
    "webp lossless": encoded(picture, "WEBP", lossless=True),
    "bmp": encoded(picture, "BMP"),
    "tiff": encoded(picture, "TIFF"),
    "tiff lzw": encoded(picture, "TIFF", compression="tiff_lzw"),
    "tiff deflate": encoded(picture, "TIFF", compression="tiff_adobe_deflate"),
    "tiff packbits": encoded(picture, "TIFF", compression="packbits"),
    "gif": encoded(picture, "GIF"),
    "gif interlaced": encoded(picture, "GIF", interlace=1),
}
LOSSLESS = ("png", "webp lossless", "bmp", "tiff", "tiff lzw", "tiff deflate", "tiff packbits")


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_give_the_very_pixels(kind):
    found = decode(FILES[kind])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, PHOTO)


@pytest.mark.parametrize("kind", sorted(set(FILES) - set(LOSSLESS)))
def test_lossy_formats_come_near(kind):
    found = decode(FILES[kind])
    assert found.shape == PHOTO.shape
    wanted = np.repeat(np.asarray(picture.convert("L"))[..., None], 3, -1) if "grey" in kind else PHOTO
    assert np.abs(found.astype(int) - wanted).mean() < 12


@pytest.mark.parametrize("kind", FILES)
def test_a_file_cut_anywhere_is_refused_or_whole(kind):
    data = FILES[kind]
    full, size = decode(data), len(data)
    cuts = {1, 2, 3, 7, 11, 19, 33, 60} | {size * part // 41 for part in range(1, 41)} | set(range(size - 24, size))
    decoded = {cut for cut in cuts if whole_or_nothing(data[:cut], full)}
    assert decoded <= set(range(size - 8, size))


@pytest.mark.parametrize("kind", [kind for kind in FILES if kind.startswith("jpeg")])
def test_a_jpeg_with_a_tail_of_zeros_is_refused(kind):
    # A broken download in a file that had its full size from the beginning.
    data = FILES[kind]
    for tail in (len(data) // 2, 20 * len(data)):
        with pytest.raises(EmbedshiftError, match="ends early"):
            decode(data[: len(data) // 2] + bytes(tail))


@pytest.mark.parametrize("kind", FILES)
def test_bytes_after_the_picture_do_not_matter(kind):
    np.testing.assert_array_equal(decode(FILES[kind] + b"\xff\xda junk " * 20), decode(FILES[kind]))


def test_the_end_marker_of_a_thumbnail_is_not_taken_for_the_picture_s():
    data = encoded(picture, "JPEG", exif=b"Exif\0\0MM" + FILES["jpeg grey"][:2000] + b"\xff\xd9")
    assert decode(data).shape == PHOTO.shape
    with pytest.raises(EmbedshiftError, match="ends early"):
        decode(data[: len(data) * 3 // 4] + bytes(20 * len(data)))


def test_fill_bytes_before_a_marker_are_allowed():
    data = FILES["jpeg"]
    np.testing.assert_array_equal(decode(data[:2] + b"\xff\xff\xff" + data[2:]), decode(data))


@pytest.mark.parametrize("name", [b"IDAT", b"IHDR", b"PLTE"])
def test_a_wrong_checksum_in_a_png_is_refused(name):
    data = bytearray(FILES["png palette"])
    start = data.index(name)
    length = int.from_bytes(data[start - 4 : start], "big")
    data[start + 4 + length] ^= 1
    with pytest.raises(EmbedshiftError):
        decode(bytes(data))


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_flipped_bit_in_a_png_is_refused(place):
    data = bytearray(FILES["png"])
    data[int(len(data) * place)] ^= 4
    with pytest.raises(EmbedshiftError, match="damaged"):
        decode(bytes(data))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"this is a text, not a picture\n" * 50, "not an image"),
        (b"\0" * 5000, "not an image"),
        (b"\xff\xd8\xff", "cut off early"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "not an image"),
        (b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "not an image"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(data, words):
    with pytest.raises(EmbedshiftError, match=words):
        decode(data)


def test_formats_that_pillow_could_open_are_refused_all_the_same():
    for kind in ("PPM", "TGA", "ICO", "PDF", "EPS"):
        with pytest.raises(EmbedshiftError):
            decode(encoded(picture, kind))


def test_one_pixel():
    assert decode(encoded(np.array([[[1, 2, 3]]], np.uint8), "PNG")).tolist() == [[[1, 2, 3]]]


def test_grey_and_bilevel_pictures_have_three_equal_channels():
    grey = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
    np.testing.assert_array_equal(decode(encoded(grey, "PNG")), np.stack([grey] * 3, -1))
    bits = grey > 127
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(bits), "PNG")), np.stack([255 * bits] * 3, -1))


def test_cmyk_is_converted():
    inks = RNG.integers(0, 256, (4, 6, 4), dtype=np.uint8)
    found = decode(encoded(Image.frombytes("CMYK", (6, 4), inks.tobytes()), "TIFF")).astype(int)
    wanted = (255 - inks[..., :3].astype(float)) * (255 - inks[..., 3:].astype(float)) / 255
    assert np.abs(found - wanted).max() <= 1
    red = decode(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    assert np.abs(red.astype(int) - (255, 0, 0)).max() <= 3


def test_sixteen_bits_are_shifted_and_not_clipped():
    grey = RNG.integers(0, 65536, (9, 11), dtype=np.uint16)
    grey[0, :4] = 0, 255, 256, 65535
    for data in (sixteen(grey, 0), cv2.imencode(".tiff", grey)[1].tobytes()):
        np.testing.assert_array_equal(decode(data), np.stack([grey >> 8] * 3, -1))
    colour = RNG.integers(0, 65536, (9, 11, 3), dtype=np.uint16)
    for data in (sixteen(colour, 2), cv2.imencode(".tiff", colour[..., ::-1])[1].tobytes()):
        np.testing.assert_array_equal(decode(data), colour >> 8)


def on_white(colour, alpha):
    opacity = np.asarray(alpha, float)[..., None] / 255
    return np.asarray(colour) * opacity + 255 * (1 - opacity)


def test_alpha_is_flattened_on_white():
    colour = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    alpha = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
    alpha[0, :2] = 0, 255
    both = np.dstack([colour, alpha])
    for kind, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})):
        assert np.abs(decode(encoded(both, kind, **options)) - on_white(colour, alpha)).max() <= 1, kind
    assert decode(encoded(both, "PNG"))[0, 0].tolist() == [255, 255, 255]
    assert decode(encoded(both, "PNG"))[0, 1].tolist() == colour[0, 1].tolist()


def test_grey_with_alpha_is_flattened_on_white():
    grey, alpha = RNG.integers(0, 256, (2, 6, 8), dtype=np.uint8)
    found = decode(encoded(Image.fromarray(np.dstack([grey, alpha]), "LA"), "PNG"))
    assert np.abs(found - on_white(np.stack([grey] * 3, -1), alpha)).max() <= 1
    deep = decode(sixteen(np.dstack([grey, alpha]).astype(np.uint16) << 8, 4))
    assert np.abs(deep - on_white(np.stack([grey] * 3, -1), alpha)).max() <= 1


def test_a_palette_with_alpha_is_flattened_on_white():
    indexed = Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8), "P")
    indexed.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    data = encoded(indexed, "PNG", transparency=bytes([255, 128, 0, 255]))
    found = decode(data)[0]
    assert found[[0, 2, 3]].tolist() == [[255, 0, 0], [255, 255, 255], [9, 9, 9]]
    assert np.abs(found[1].astype(int) - (127, 255, 127)).max() <= 1
    one = decode(encoded(indexed, "GIF", transparency=1))[0]
    assert one.tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255], [9, 9, 9]]


def test_a_transparent_colour_becomes_white():
    grey = png(3, 1, 8, 0, b"\0\x0a\x14\x1e", chunk(b"tRNS", struct.pack(">H", 20)))
    assert decode(grey)[0, :, 0].tolist() == [10, 255, 30]
    colour = png(2, 1, 8, 2, b"\0\1\2\3\4\5\6", chunk(b"tRNS", struct.pack(">HHH", 4, 5, 6)))
    assert decode(colour)[0].tolist() == [[1, 2, 3], [255, 255, 255]]
    deep = sixteen([[0x1234, 0x8000, 0x8001]], 0, chunk(b"tRNS", struct.pack(">H", 0x8000)))
    assert decode(deep)[0, :, 0].tolist() == [0x12, 255, 0x80]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_several_is_taken(kind):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {}))  # fmt: skip  # noqa: E501
    found = decode(data)
    assert found.shape == (10, 20, 3)
    assert (found == (255, 0, 0)).all()


TURNED = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, 1),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TURNED)
def test_exif_orientation_is_applied(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    stored = decode(encoded(picture, kind, **options))
    found = decode(encoded(picture, kind, exif=exif, **options))
    np.testing.assert_array_equal(found, TURNED[orientation](stored))


def test_a_broken_exif_block_does_not_cost_the_picture():
    words_for_a_number = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\2\0\3\0\0\0up\0\0\0\0\0\0"
    for broken in (b"Exif\0\0MM\0*\0\0\0\x08\xff\xff broken", words_for_a_number):
        np.testing.assert_array_equal(decode(encoded(picture, "JPEG", exif=broken)), decode(FILES["jpeg"]))


@pytest.mark.parametrize(("width", "height"), [(12_000, 9_000), (100_000, 1_001), (30_000, 30_000)])
def test_more_than_100_megapixels_are_refused_before_they_are_decoded(width, height):
    data = png(width, height, 1, 0, b"\0" * 64)  # a header and no more than a few lines
    with pytest.raises(EmbedshiftError, match="more than 100 megapixels"):
        decode(data)


def test_the_limit_itself_is_allowed(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", PHOTO.shape[0] * PHOTO.shape[1])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", PHOTO.shape[0] * PHOTO.shape[1] - 1)  # Pillow warns from here on
    np.testing.assert_array_equal(decode(FILES["png"]), PHOTO)
    monkeypatch.setattr(images, "MAX_PIXELS", PHOTO.shape[0] * PHOTO.shape[1] - 1)
    with pytest.raises(EmbedshiftError, match="megapixels"):
        decode(FILES["png"])


def test_pixels_without_a_fixed_range_are_refused():
    for values in (np.ones((4, 4), np.float32), np.full((4, 4), 70_000, np.int32), np.full((4, 4), -1, np.int32)):
        with pytest.raises(EmbedshiftError, match="convert"):
            decode(encoded(Image.fromarray(values), "TIFF"))
