"""TIFFs and BigTIFFs by their tags."""

import io
import struct
from typing import Any

import numpy as np
import tifffile

from embedshift.arrays import Pixels
from support.hostile.encodings import GREY, PHOTO

PART: Pixels = np.ascontiguousarray(PHOTO[:32, :48])
SHADES: Pixels = np.ascontiguousarray(GREY[:32, :48])
HEIGHT, WIDTH = SHADES.shape
COLUMNS, ROWS, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
OFFSETS, ORIENTATION, SAMPLES, STRIP_ROWS, COUNTS, PLANES = 273, 274, 277, 278, 279, 284
PREDICTOR, COLORMAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 317, 320, 322, 323, 324, 325
EXTRA, FORMAT, SUBSAMPLING = 338, 339, 530
Tags = dict[int, Any]


def tags(values: Any = SHADES) -> Tags:
    """The tags of a picture in one strip behind the header."""
    shape, wide = np.shape(values), np.asarray(values)
    channels = shape[2] if len(shape) == 3 else 1
    found: Tags = {
        COLUMNS: shape[1],
        ROWS: shape[0],
        BITS: [8 * wide.itemsize] * channels,
        COMPRESSION: 1,
        PHOTOMETRIC: 2 if channels > 2 else 1,
        OFFSETS: 8,
        SAMPLES: channels,
        STRIP_ROWS: shape[0],
        COUNTS: wide.nbytes,
    }
    return found


def tiff(data: bytes, entries: Tags, order: str = "<", following: int | None = 0, big: bool = False) -> bytes:
    """A TIFF: header, data at byte 8 (16 in a BigTIFF), values that are long, and one directory; None removes a tag.

    A value is a number or numbers, which become longs or shorts; bytes; or type, count and bytes, as they are.
    """
    size = 16 if big else 8
    start = size + len(data) + len(data) % 2
    room, extra, body = (8 if big else 4), b"", b""
    kept = sorted((tag, value) for tag, value in entries.items() if value is not None)
    after = start + (8 if big else 2) + len(kept) * (20 if big else 12) + room
    for tag, value in kept:
        kind, count, content = _content(value, order)
        if len(content) > room:
            place = after + len(extra)
            extra += content + bytes(len(content) % 2)
            content = struct.pack(f"{order}{'Q' if big else 'I'}", place)
        body += struct.pack(f"{order}HH{'Q' if big else 'I'}", tag, kind, count) + content.ljust(room, b"\0")
    mark = b"II" if order == "<" else b"MM"
    head = mark + (struct.pack(f"{order}HHHQ", 43, 8, 0, start) if big else struct.pack(f"{order}HI", 42, start))
    count_of = struct.pack(f"{order}{'Q' if big else 'H'}", len(kept))
    chain = struct.pack(f"{order}{'Q' if big else 'I'}", start if following is None else following)
    return head + data + bytes(len(data) % 2) + count_of + body + chain + extra


def _content(value: Any, order: str) -> tuple[int, int, bytes]:
    if isinstance(value, tuple):
        return value
    if isinstance(value, bytes):
        return 7, len(value), value
    numbers = value if isinstance(value, list) else [value]
    kind, letter = (4, "I") if max(numbers, default=0) > 65_535 else (3, "H")
    return kind, len(numbers), struct.pack(f"{order}{len(numbers)}{letter}", *numbers)


def plain(values: Any = SHADES, changed: Tags | None = None, data: bytes | None = None, **options: Any) -> bytes:
    """A TIFF of values in one strip, some of whose tags are changed."""
    raw = np.asarray(values).tobytes() if data is None else data
    entries = tags(values)
    if data is not None:
        entries[COUNTS] = len(data)
    return tiff(raw, entries | (changed or {}), **options)


def strips(values: Any, rows: int, changed: Tags | None = None) -> bytes:
    """A TIFF in strips."""
    raw, line = np.asarray(values).tobytes(), np.asarray(values)[:1].nbytes
    places = list(range(0, len(raw), rows * line))
    counts = [min(rows * line, len(raw) - place) for place in places]
    entries = tags(values) | {STRIP_ROWS: rows, OFFSETS: [8 + place for place in places], COUNTS: counts}
    return tiff(raw, entries | (changed or {}))


def written(values: Any, **options: Any) -> bytes:
    """A TIFF as tifffile writes it."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()
