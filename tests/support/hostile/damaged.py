"""Files that are cut, altered, empty, bombs, or no pictures at all."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from support.hostile import Kind
from support.hostile.encodings import PHOTO, PICTURE, chunk, encoded, png, png_of

_EARLY = "damaged or ends early"


def kinds() -> Iterator[Kind]:
    """All of them."""
    yield from _cut()
    yield from _altered()
    yield from _bombs()
    yield from _no_pictures()


def _files() -> dict[str, tuple[str, bytes]]:
    deep = Image.fromarray(PHOTO).resize((360, 270))
    return {
        "jpeg": (".jpg", encoded(deep, "JPEG")),
        "jpeg progressive": (".jpg", encoded(deep, "JPEG", progressive=True)),
        "jpeg restarts": (".jpg", encoded(deep, "JPEG", restart_marker_rows=1)),
        "png": (".png", encoded(deep, "PNG")),
        "webp": (".webp", encoded(deep, "WEBP")),
        "webp lossless": (".webp", encoded(deep, "WEBP", lossless=True)),
        "gif": (".jpg", encoded(deep.quantize(64), "GIF")),
        "bmp": (".bmp", encoded(deep, "BMP")),
        "tiff raw": (".tif", encoded(deep, "TIFF")),
        "tiff lzw": (".tif", encoded(deep, "TIFF", compression="tiff_lzw")),
    }


def _cut() -> Iterator[Kind]:
    for name, (ending, data) in _files().items():
        for relative_shift in (10, 50, 95):
            cut = data[: len(data) * relative_shift // 100]
            yield Kind(name=f"{name} cut at {relative_shift} %", ending=ending, data=cut, words="early|cut off")
        if ending == ".jpg" and "jpeg" in name:
            tail = data[: len(data) // 2] + bytes(len(data))
            yield Kind(name=f"{name} with zeros behind", ending=ending, data=tail, words=_EARLY)
    data = encoded(Image.fromarray(PHOTO).resize((360, 270)), "WEBP")
    zeros = data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
    yield Kind(name="webp with zeros behind", ending=".webp", data=zeros, words="end is zeros")


def _altered() -> Iterator[Kind]:
    whole = encoded(PICTURE, "PNG")
    for relative_shift in (15, 50, 85):
        flipped_png = bytearray(whole)
        flipped_png[len(whole) * relative_shift // 100] ^= 4
        yield Kind(name=f"png bit flipped at {relative_shift} %", ending=".png", data=bytes(flipped_png), words=_EARLY)
    yield Kind(name="png without end", ending=".png", data=whole[:-12], words=_EARLY)
    yield Kind(name="png no pixels", ending=".png", data=png(0, 9, 8, 2, b""), words="not an image|early")
    gif = encoded(PICTURE.quantize(8), "GIF")
    at = gif.index(b",\0\0\0\0") + 7  # twice the height, in the header and in the frame
    tall = gif[:8] + b"\xb4\0" + gif[10:at] + b"\xb4\0" + gif[at + 2 :]
    yield Kind(name="gif 90 of 180 lines", ending=".png", data=tall, words=_EARLY)
    # Nothing in these formats tells the damage: a picture of the right size, altered, or a failure.
    for name, (ending, data) in _files().items():
        middle = len(data) // 2
        if name not in ("png", "gif"):
            zeroed = data[:middle] + bytes(64) + data[middle + 64 :]
            yield Kind(name=f"{name} zeros inside", ending=ending, data=zeroed)
            flipped = data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]
            yield Kind(name=f"{name} bit flipped", ending=ending, data=flipped)


def _bombs() -> Iterator[Kind]:
    large = "more than 100 megapixels"
    for width, height in ((30_000, 30_000), (100_000, 1_001), (2**31 - 1, 2**31 - 1)):
        data = png(width, height, 1, 0, b"\0" * 64)
        yield Kind(name=f"png header of {width} x {height}", ending=".png", data=data, words=large)
    bmp = encoded(PICTURE, "BMP")
    data = bmp[:18] + struct.pack("<ii", 60_000, 60_000) + bmp[26:]
    yield Kind(name="bmp header bomb", ending=".bmp", data=data, words=large)
    gif = encoded(PICTURE.quantize(8), "GIF")
    wide = gif[:6] + b"\xff\xff\xff\xff" + gif[10:]
    yield Kind(name="gif header bomb", ending=".png", data=wide, words=large)
    jpeg = encoded(PICTURE, "JPEG")
    size = jpeg.index(b"\xff\xc0") + 5
    data = jpeg[:size] + b"\xff\xdc\xff\xdc" + jpeg[size + 4 :]
    yield Kind(name="jpeg header bomb", ending=".jpg", data=data, words=large)
    yield Kind(
        name="jpeg no height", ending=".jpg", data=jpeg[:size] + b"\0\0" + jpeg[size + 2 :], words="early|cut off"
    )
    yield Kind(name="jpeg all fill", ending=".jpg", data=b"\xff\xd8" + b"\xff" * 4_000_000, words="not an image")
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(100_000_000)))
    yield Kind(name="png icc bomb", ending=".png", data=png_of(PHOTO, 2, profile), words=_EARLY)
    pixels = chunk(b"IDAT", zlib.compress(bytes(50_000_000)))
    yield Kind(name="png pixels bomb", ending=".png", data=png(4, 4, 8, 2, bytes(13 * 4), pixels), pixels=np.zeros((4, 4, 3), np.uint8))  # fmt: skip  # noqa: E501


def _no_pictures() -> Iterator[Kind]:
    texts = {
        "text": b"this is a text, not a picture\n" * 50,
        "zeros": bytes(5000),
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "pdf": encoded(PICTURE, "PDF"),
        "eps": encoded(PICTURE, "EPS"),
        "ico": encoded(PICTURE, "ICO"),
        "tga": encoded(PICTURE, "TGA"),
        "html": b"<!doctype html><html><body>404 Not Found</body></html>",
        "random": np.random.default_rng(0).bytes(5000),
    }
    yield Kind(name="empty", ending=".jpg", data=b"", words="the file is empty")
    for name, data in texts.items():
        yield Kind(name=name, ending=".jpg", data=data, words="not an image")
    for number, start in enumerate(
        (b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"GIF89a", b"BM", b"II*\0")
    ):
        yield Kind(name=f"only a signature {number}", ending=".png", data=start, words="not an image|early")
    for values in (np.ones((4, 4), np.float32), np.full((4, 4), 70_000, np.int32)):
        data = encoded(Image.fromarray(values), "TIFF")
        yield Kind(
            name=f"tiff {values.dtype}", ending=".tif", data=data, words="convert (the image|it) to 8 or 16 bits"
        )
