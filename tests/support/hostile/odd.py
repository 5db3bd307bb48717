"""Files that are whole, and odd: what is measured is what another decoder, or whoever wrote them, says."""

import io
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from support.hostile import Kind
from support.hostile.encodings import (
    GREY,
    PHOTO,
    PICTURE,
    chunk,
    encoded,
    interlaced_png,
    other_decoder,
    packed_png,
    png_of,
    three,
)

_RNG = np.random.default_rng(0)
# Decoders differ by a rounding of colours.
_ROUNDING = 1.5


def kinds() -> Iterator[Kind]:
    """All of them."""
    yield from _pngs()
    yield from _jpegs()
    yield from _tiffs()
    yield from _others()


def _pngs() -> Iterator[Kind]:
    alpha = _RNG.integers(0, 256, GREY.shape, dtype=np.uint8)
    relative_shift = alpha[..., None] / 255
    on_white = PHOTO * relative_shift + 255 * (1 - relative_shift)
    deep, deep_grey = (_RNG.integers(0, 65536, shape, dtype=np.uint16) for shape in (PHOTO.shape, GREY.shape))
    indexed = PICTURE.quantize(32)
    palette = np.reshape(indexed.getpalette() or [], (-1, 3))
    clear = np.arange(32) * 8
    coloured = palette[np.asarray(indexed)] * (clear[np.asarray(indexed)] / 255)[..., None]
    coloured += 255 * (1 - (clear[np.asarray(indexed)] / 255)[..., None])
    tall = np.zeros((10_000, 1, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6

    def rgb(*extra: bytes) -> bytes:
        return png_of(PHOTO, 2, *extra)

    noise = b"Comment\0\0" + zlib.compress(b"a" * 3_000_000)
    yield Kind(name="png", ending=".png", data=rgb(), pixels=PHOTO)
    yield Kind(name="png grey", ending=".png", data=png_of(GREY, 0), pixels=three(GREY))
    for depth in (1, 2, 4):
        values = GREY >> (8 - depth)
        shown = values.astype(int) * 255 // (2**depth - 1)
        yield Kind(name=f"png {depth} bit", ending=".png", data=packed_png(values, depth), pixels=three(shown))
    yield Kind(name="png 16 bit", ending=".png", data=png_of(deep, 2), pixels=(deep >> 8).astype(np.uint8))
    yield Kind(name="png 16 bit grey", ending=".png", data=png_of(deep_grey, 0), pixels=three(deep_grey >> 8))
    with_alpha = png_of(np.dstack([PHOTO, alpha]), 6)
    yield Kind(name="png alpha", ending=".png", data=with_alpha, pixels=on_white.astype(np.uint8), off=1)
    yield Kind(
        name="png palette with alpha", ending=".png", data=encoded(indexed, "PNG", transparency=bytes(clear.tolist())),
        pixels=coloured.astype(np.uint8), off=1,
    )  # fmt: skip
    yield Kind(
        name="png turned", ending=".png", data=encoded(PICTURE, "PNG", exif=exif), pixels=np.rot90(PHOTO, -1)
    )  # fmt: skip
    yield Kind(name="png bad icc", ending=".png", data=rgb(chunk(b"iCCP", b"x\0\0" + zlib.compress(b"no profile"))), pixels=PHOTO)  # fmt: skip  # noqa: E501
    yield Kind(name="png text of 3 MB", ending=".png", data=rgb(chunk(b"zTXt", noise)), pixels=PHOTO)
    many = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 1_000_000)) * 80
    yield Kind(name="png texts of 80 MB", ending=".png", data=rgb(many), pixels=PHOTO)
    yield Kind(name="png 1 x 1", ending=".png", data=png_of(PHOTO[:1, :1], 2), pixels=PHOTO[:1, :1])
    yield Kind(name="png 1 x 10000", ending=".png", data=png_of(tall, 2), pixels=tall)
    black = np.zeros_like(PHOTO)
    yield Kind(name="png interlaced", ending=".png", data=interlaced_png(PHOTO), pixels=PHOTO)
    yield Kind(name="png interlaced 5 x 1", ending=".png", data=interlaced_png(PHOTO[:1, :5]), pixels=PHOTO[:1, :5])
    yield Kind(name="png black", ending=".png", data=encoded(black, "PNG"), pixels=black)
    yield Kind(name="png called jpg", ending=".jpg", data=rgb(), pixels=PHOTO)
    yield Kind(name="png junk behind it", ending=".png", data=rgb() + b"junk" * 99, pixels=PHOTO)
    frames = [Image.fromarray(np.roll(PHOTO, step, 0)) for step in (1, 2)]
    moving = encoded(PICTURE, "PNG", save_all=True, append_images=frames)
    yield Kind(name="png animated", ending=".png", data=moving, pixels=PHOTO)


def _jpegs() -> Iterator[Kind]:
    exif = Image.Exif()
    exif[0x0112] = 6
    ink = encoded(PICTURE.convert("CMYK"), "JPEG", quality=95)
    adobe = ink.index(b"Adobe")
    plain = encoded(PICTURE, "JPEG")
    options: dict[str, dict[str, Any]] = {
        "": {},
        " 4 4 4": {"subsampling": 0, "quality": 100},
        " progressive": {"progressive": True},
        " restarts": {"restart_marker_blocks": 3},
        " optimized": {"optimize": True, "quality": 20},
        " turned": {"exif": exif},
        " bad exif": {"exif": b"Exif\0\0MM\0*\0\0\0\x08\xff\xff broken"},
        " icc of a megabyte": {"icc_profile": b"no profile" * 100_000},
        " thumbnail": {"exif": b"Exif\0\0MM" + encoded(PICTURE.resize((32, 24)), "JPEG")},
    }
    data = {f"jpeg{name}": encoded(PICTURE, "JPEG", **chosen) for name, chosen in options.items()}
    data["jpeg grey"] = encoded(PICTURE.convert("L"), "JPEG")
    data["jpeg cmyk"] = ink
    data["jpeg ycck"] = ink[: adobe + 11] + b"\x02" + ink[adobe + 12 :]
    data["jpeg fill bytes"] = plain[:2] + b"\xff" * 500 + plain[2:]
    data["jpeg 1000 comments"] = plain[:2] + b"\xff\xfe\0\x04hi" * 1000 + plain[2:]
    data["jpeg junk behind it"] = plain + b"\xff\xda junk" * 99
    data["jpeg 1 x 10000"] = encoded(np.repeat(np.arange(10_000, dtype=np.uint8)[:, None, None], 3, 2), "JPEG")
    for name, each in data.items():
        reference = other_decoder(each)
        if "turned" in name:
            assert reference.shape == np.rot90(PHOTO).shape
        yield Kind(name=name, ending=".jpg", data=each, pixels=reference, off=_ROUNDING)
    both = encoded(PICTURE, "MPO", save_all=True, append_images=[PICTURE.convert("L")])
    yield Kind(name="jpeg two in one", ending=".jpg", data=both, pixels=other_decoder(both), off=_ROUNDING)


def _tiffs() -> Iterator[Kind]:
    def written(values: Any, **options: Any) -> bytes:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, values, **options)
        return buffer.getvalue()

    bits = GREY > 127
    deep = _RNG.integers(0, 65536, GREY.shape, dtype=np.uint16)
    inks = np.asarray(PICTURE.convert("CMYK")).astype(float)
    printed = (255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        data = encoded(PICTURE, "TIFF", compression=compression)
        yield Kind(name=f"tiff {compression}", ending=".tif", data=data, pixels=PHOTO)
    fax = encoded(Image.fromarray(bits), "TIFF", compression="group4")
    yield Kind(name="tiff fax", ending=".tif", data=fax, pixels=three(255 * bits))
    yield Kind(name="tiff 16 bit", ending=".tif", data=written(deep), pixels=three(deep >> 8))
    yield Kind(name="tiff 16 bit big-endian", ending=".tif", data=written(deep, byteorder=">"), pixels=three(deep >> 8))
    printing = encoded(PICTURE.convert("CMYK"), "TIFF")
    yield Kind(name="tiff cmyk", ending=".tiff", data=printing, pixels=printed.astype(np.uint8), off=1)
    yield Kind(name="tiff tiles", ending=".tif", data=written(PHOTO, tile=(16, 16), photometric="rgb"), pixels=PHOTO)
    tall = np.ascontiguousarray(np.repeat(np.arange(10_000, dtype=np.uint8)[:, None], 1, 1))
    strips = written(tall, rowsperstrip=1, photometric="minisblack")
    yield Kind(name="tiff 10000 strips", ending=".tif", data=strips, pixels=three(tall))
    two = encoded(PICTURE, "TIFF", save_all=True, append_images=[PICTURE.rotate(90)])
    yield Kind(name="tiff two pages", ending=".tif", data=two, pixels=PHOTO)


def _others() -> Iterator[Kind]:
    lossy = encoded(PICTURE, "WEBP")
    yield Kind(name="webp", ending=".webp", data=lossy, pixels=other_decoder(lossy), off=_ROUNDING)
    yield Kind(name="webp lossless", ending=".webp", data=encoded(PICTURE, "WEBP", lossless=True), pixels=PHOTO)
    moving = encoded(PICTURE, "WEBP", lossless=True, save_all=True, append_images=[PICTURE.rotate(90)])
    yield Kind(name="webp animated", ending=".webp", data=moving, pixels=PHOTO)
    flat = np.full((600, 800, 3), 128, np.uint8)
    zeros = encoded(flat, "WEBP", quality=100, method=0)
    assert zeros.endswith(bytes(1000)), "a whole picture that ends in zeros"
    yield Kind(name="webp whole with zeros", ending=".webp", data=zeros, pixels=other_decoder(zeros), off=_ROUNDING)
    few = PICTURE.quantize(32)
    shown = np.asarray(few.convert("RGB"))
    yield Kind(name="gif", ending=".png", data=encoded(few, "GIF"), pixels=shown)
    yield Kind(name="gif interlaced", ending=".jpg", data=encoded(few, "GIF", interlace=1), pixels=shown)
    small = [Image.new("L", (8, 8), level % 256) for level in range(1000)]
    frames = encoded(small[0], "GIF", save_all=True, append_images=small[1:])
    yield Kind(name="gif 1000 frames", ending=".png", data=frames, pixels=np.zeros((8, 8, 3), np.uint8))
    yield Kind(name="bmp", ending=".bmp", data=encoded(PICTURE, "BMP"), pixels=PHOTO)
    yield Kind(name="bmp palette", ending=".bmp", data=encoded(few, "BMP"), pixels=shown)
    bits = Image.fromarray(GREY > 127)
    yield Kind(name="bmp 1 bit", ending=".bmp", data=encoded(bits, "BMP"), pixels=three(255 * (GREY > 127)))
