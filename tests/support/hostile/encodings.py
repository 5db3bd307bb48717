"""One small photograph in every format, and what writes formats by hand."""

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
from PIL import Image
from skimage import data as skimage_data

from embedshift.arrays import Pixels

_pictures: Any = skimage_data
PHOTO: Pixels = np.ascontiguousarray(_pictures.astronaut()[100:190, 170:290])
PICTURE = Image.fromarray(PHOTO)
GREY = np.asarray(PICTURE.convert("L"))


def encoded(picture: Image.Image | Pixels, kind: str, **options: Any) -> bytes:
    """A picture as Pillow writes it."""
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(buffer, kind, **options)
    return buffer.getvalue()


def other_decoder(data: bytes) -> Pixels:
    """A picture as OpenCV reads it, which brings decoders of its own."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return np.asarray(found[..., ::-1], np.uint8)


def three(grey: Any) -> Pixels:
    """A grey picture in three equal channels."""
    return np.stack([np.asarray(grey, np.uint8)] * 3, -1)


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG with its checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, depth: int, colour: int, lines: bytes, *extra: bytes) -> bytes:
    """A PNG written by hand."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def png_of(values: Any, colour: int, *extra: bytes) -> bytes:
    """Values of 8 or 16 bits, `[H, W]` or `[H, W, C]`, as a PNG."""
    wide = np.asarray(values)
    depth = 8 * wide.itemsize
    lines = b"".join(b"\0" + line.astype(f">u{wide.itemsize}").tobytes() for line in wide)
    return png(wide.shape[1], wide.shape[0], depth, colour, lines, *extra)


def packed_png(values: Any, depth: int) -> bytes:
    """Grey values of 1, 2 or 4 bits as a PNG."""
    bits = np.unpackbits(np.asarray(values, np.uint8)[..., None], axis=-1)[..., -depth:]
    lines = b"".join(b"\0" + np.packbits(line.reshape(-1)).tobytes() for line in bits)
    return png(values.shape[1], values.shape[0], depth, 0, lines)


def interlaced_png(values: Pixels) -> bytes:
    """RGB as a PNG in seven passes."""
    steps = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    passes = (values[top::down, left::across] for top, left, down, across in steps)
    lines = b"".join(b"\0" + line.tobytes() for each in passes if each.size for line in each)
    made = png(values.shape[1], values.shape[0], 8, 2, lines)
    header = made[16:28] + b"\1"
    return made[:8] + chunk(b"IHDR", header) + made[33:]
