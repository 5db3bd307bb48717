"""One small photograph: what writes it in every format, what edits the bytes, and what another decoder shows."""

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image
from skimage import data as skimage_data

from embedshift.arrays import Pixels

_pictures: Any = skimage_data
PHOTO: Pixels = np.ascontiguousarray(_pictures.astronaut()[100:190, 170:290])
PICTURE = Image.fromarray(PHOTO)
GREY = np.asarray(PICTURE.convert("L"))
# Channels of a PNG by its colour type; first row and column of each pass of an interlaced one, and its steps.
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def encoded(picture: Image.Image | Pixels, kind: str, **options: Any) -> bytes:
    """A picture as Pillow writes it."""
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation: int) -> Image.Exif:
    """EXIF that says how a picture is turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def three(grey: Any) -> Pixels:
    """A grey picture in three equal channels."""
    return np.stack([np.asarray(grey, np.uint8)] * 3, -1)


def on_white(colours: Any, alpha: Any) -> Any:
    """Colours over white, as floats."""
    opacity = np.asarray(alpha, float)[..., None] / 255
    return np.asarray(colours) * opacity + 255 * (1 - opacity)


def opencv(data: bytes) -> Any:
    """A file as OpenCV shows it, which has decoders of its own, on white; None where it reads nothing."""
    try:
        found: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if found is None:
        return None
    wide = found >> 8 if found.dtype == np.uint16 else found
    wide = wide[..., None].repeat(3, -1) if wide.ndim == 2 else wide
    return on_white(wide[..., 2::-1], wide[..., 3]) if wide.shape[2] == 4 else wide[..., ::-1].astype(float)


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG with its checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(
    width: int, height: int, depth: int, colour: int, lines: bytes, *extra: bytes, interlaced: bool = False
) -> bytes:
    """A PNG written by hand, of lines that begin with their filter."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def png_of(values: Any, colour: int, *extra: bytes, depth: int = 8, interlaced: bool = False) -> bytes:
    """Values `[H, W]` or `[H, W, C]` of so many bits as a PNG."""
    height, width = np.shape(values)[:2]
    parts = [values[top::down, left::across] for top, left, down, across in PASSES] if interlaced else [values]
    lines = b"".join(b"\0" + _packed(line, depth) for part in parts if np.size(part) for line in part)
    return png(width, height, depth, colour, lines, *extra, interlaced=interlaced)


def _packed(line: Any, depth: int) -> bytes:
    if depth >= 8:
        return bytes(np.asarray(line).astype(f">u{depth // 8}").tobytes())
    return np.packbits(
        np.unpackbits(np.asarray(line, np.uint8)[..., None], axis=-1)[..., -depth:].reshape(-1)
    ).tobytes()


def with_lines(data: bytes, lines: bytes) -> bytes:
    """A PNG of `png_of` with other lines, and right checksums."""
    at = data.index(b"IDAT") - 4
    return data[:at] + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def lines_of(data: bytes) -> bytes:
    """The lines of a PNG of `png_of`."""
    return zlib.decompress(data[data.index(b"IDAT") + 4 : -16])


def tiff(values: Any, **options: Any) -> bytes:
    """A TIFF as tifffile writes it."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **({"photometric": "rgb"} if np.ndim(values) == 3 else {}) | options)
    return buffer.getvalue()


def retagged(
    data: bytes, tag: int, *, name: int | None = None, count: int | None = None, value: int | None = None
) -> bytes:
    """A small-endian TIFF whose tag has another name, which removes it, fewer values or another value."""
    at = int.from_bytes(data[4:8], "little") + 2
    while int.from_bytes(data[at : at + 2], "little") != tag:
        at += 12
    old = struct.unpack("<HHII", data[at : at + 12])
    new = (name or tag, old[1], old[2] if count is None else count, old[3] if value is None else value)
    return data[:at] + struct.pack("<HHII", *new) + data[at + 12 :]


def segment_at(data: bytes, marker: int) -> tuple[int, int]:
    """Where the first segment of a kind stands in a JPEG, and where it ends."""
    at = 2
    while data[at + 1] != marker:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at, at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def with_segment(data: bytes, marker: int, content: bytes | None, becomes: int | None = None) -> bytes:
    """A JPEG whose segment of a kind has another content; None removes it."""
    start, end = segment_at(data, marker)
    return data[:start] + (b"" if content is None else segment(becomes or marker, content)) + data[end:]


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def resized(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header says another size."""
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def lossless_jpeg(columns: int = 16, rows: int = 64) -> bytes:
    """A lossless JPEG of one level, 200: its first difference is 72 in 7 bits, and all others are 0 in one bit."""
    bits = "10" + format(72, "07b") + "0" * (columns * rows - 1)
    codes = np.packbits(np.frombuffer((bits + "1" * (-len(bits) % 8)).encode(), np.uint8) - 48).tobytes()
    frame = segment(0xC3, struct.pack(">BHHB", 8, rows, columns, 1) + b"\1\x11\0")
    table = segment(0xC4, b"\0\1\1" + bytes(14) + b"\0\7")
    return b"\xff\xd8" + frame + table + segment(0xDA, b"\1\1\0\1\0\0") + codes + b"\xff\xd9"
