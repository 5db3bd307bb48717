"""JPEGs by their segments, and lossless ones, whose pixels are written by hand."""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from support.hostile.encodings import PICTURE, encoded, other_decoder

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
Segments = list[tuple[int, bytes]]
PLAIN = encoded(PICTURE, "JPEG", quality=90, subsampling=0)
SHOWN = other_decoder(PLAIN)
HALVED = encoded(PICTURE, "JPEG", quality=90, subsampling=2)
PROGRESSIVE = encoded(PICTURE, "JPEG", quality=90, progressive=True)
RESTARTS = encoded(PICTURE, "JPEG", quality=90, subsampling=0, restart_marker_blocks=4)
INK = encoded(PICTURE.convert("CMYK"), "JPEG", quality=95)
RED_GREEN_BLUE = encoded(PICTURE, "JPEG", quality=90, subsampling=0, keep_rgb=True)


def split(data: bytes) -> tuple[Segments, bytes]:
    """The segments up to the first scan, and what comes behind its header."""
    at, found = 2, []
    while True:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((marker, data[at + 4 : at + 2 + length]))
        at += 2 + length
        if marker == 0xDA:
            return found, data[at:]


def segment(marker: int, content: bytes) -> bytes:
    """A segment with its length."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def joined(segments: Sequence[tuple[int, bytes]], scan: bytes) -> bytes:
    """A JPEG of segments."""
    return SOI + b"".join(segment(marker, content) for marker, content in segments) + scan


def edited(data: bytes, marker: int, change: Callable[[bytes], bytes | None], becomes: int | None = None) -> bytes:
    """A JPEG whose segments of one kind are changed; None removes one."""
    segments, scan = split(data)
    done = [(name, change(content) if name == marker else content) for name, content in segments]
    kept = [(becomes if becomes and name == marker else name, content) for name, content in done if content is not None]
    return joined(kept, scan)


def placed(at: int, value: bytes) -> Callable[[bytes], bytes]:
    """A change that writes a value at a place."""
    return lambda content: content[:at] + value + content[at + len(value) :]


def behind_soi(data: bytes, *parts: bytes) -> bytes:
    """A JPEG with more segments behind its beginning."""
    return data[:2] + b"".join(parts) + data[2:]


def before(data: bytes, marker: int, part: bytes) -> bytes:
    """A JPEG with bytes before the first segment of a kind."""
    at = data.index(bytes([0xFF, marker]))
    return data[:at] + part + data[at:]


def lossless(values: Any, predictor: int = 1, depth: int = 8, frame: int = 0xC3) -> bytes:
    """A lossless JPEG, by ITU T.81 annex H: differences to a neighbour, each a category and its bits."""
    wide = values.reshape(*values.shape[:2], -1).astype(int)
    height, width, channels = wide.shape
    bits = []
    for y in range(height):
        for x in range(width):
            for channel in range(channels):
                difference = int(wide[y, x, channel]) - _predicted(wide[..., channel], y, x, predictor, depth)
                size = abs(difference).bit_length()
                bits.append(format(size, "05b"))
                if size:
                    bits.append(format(difference if difference > 0 else difference + 2**size - 1, f"0{size}b"))
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    codes = np.packbits(np.frombuffer(text.encode(), np.uint8) - 48).tobytes().replace(b"\xff", b"\xff\0")
    table = b"\0" + bytes([0, 0, 0, 0, 17]) + bytes(11) + bytes(range(17))
    parts = bytes([channels]) + b"".join(bytes([each + 1, 0x11, 0]) for each in range(channels))
    scan = bytes([channels]) + b"".join(bytes([each + 1, 0]) for each in range(channels)) + bytes([predictor, 0, 0])
    head = [(frame, struct.pack(">BHH", depth, height, width) + parts), (0xC4, table), (0xDA, scan)]
    return joined(head, codes + EOI)


def _predicted(plane: Any, y: int, x: int, how: int, depth: int) -> int:
    if y == 0 and x == 0:
        return int(2 ** (depth - 1))
    left, above = (int(plane[y, x - 1]) if x else 0), (int(plane[y - 1, x]) if y else 0)
    if y == 0 or x == 0:
        return left if y == 0 else above
    corner = int(plane[y - 1, x - 1])
    return [
        0, left, above, corner, left + above - corner, left + (above - corner) // 2, above + (left - corner) // 2,
        (left + above) // 2,
    ][how]  # fmt: skip
