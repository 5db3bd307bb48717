"""TIFFs whose directory, strips or tiles are wrong or odd."""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from support.hostile import Kind
from support.hostile.encodings import three
from support.malformed import OTHER, REFUSED, rows
from support.malformed.tiff_parts import (
    BITS,
    COLUMNS,
    COMPRESSION,
    COUNTS,
    FILL_ORDER,
    HEIGHT,
    OFFSETS,
    ORIENTATION,
    PART,
    PHOTOMETRIC,
    PLANES,
    ROWS,
    SAMPLES,
    SHADES,
    STRIP_ROWS,
    TILE_COUNTS,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    Tags,
    plain,
    strips,
    tags,
    tiff,
    written,
)

_SHOWN = three(SHADES)
_EITHER = (_SHOWN, REFUSED)


def kinds() -> Iterator[Kind]:
    """All of them."""
    for table in (_directories(), _sizes(), _strips(), _tiles(), _turned()):
        yield from rows("tiff", ".tif", table)


def _directories() -> dict[str, tuple[bytes, Any]]:
    whole = plain()
    at = int.from_bytes(whole[4:8], "little")
    entries = tags()
    long_values = {tag: (4, 1, struct.pack("<I", value)) for tag, value in entries.items() if isinstance(value, int)}
    odd: dict[str, tuple[Tags, Any]] = {
        "a tag of type 0": ({305: (0, 1, b"abcd")}, _SHOWN),
        "a tag of type 99": ({305: (99, 1, b"abcd")}, _SHOWN),
        "a tag of 2^32 - 1 values": ({305: (2, 2**32 - 1, b"\x08\0\0\0")}, _EITHER),
        "a software far away": ({305: (2, 99, b"\xff\xff\xff\x7f")}, _EITHER),
        "a profile of no bytes": ({34675: (7, 0, b"")}, _SHOWN),
        "an EXIF that is itself": ({34665: at}, _SHOWN),
        "an EXIF far away": ({34665: 2**31}, _SHOWN),
        "a directory below that is itself": ({330: at}, _SHOWN),
        "resolution of zero by zero": ({282: (5, 1, bytes(8)), 283: (5, 1, bytes(8))}, _SHOWN),
        "longs for shorts": (long_values, _SHOWN),
        "width as a word": ({COLUMNS: (2, 4, b"48\0\0")}, REFUSED),
        "width as a fraction": ({COLUMNS: (5, 1, struct.pack("<II", 48, 1))}, REFUSED),
        "bits as a word": ({BITS: (2, 2, b"8\0")}, REFUSED),
        "a tag of WDP": ({0xBC01: 1}, REFUSED),
    }
    made = {name: (plain(changed=changed), expected) for name, (changed, expected) in odd.items()}
    count = int.from_bytes(whole[at : at + 2], "little")
    body = whole[at + 2 : at + 2 + 12 * count]
    reverse = b"".join(body[12 * number : 12 * number + 12] for number in range(count))[::1]
    swapped = b"".join(reverse[12 * number : 12 * number + 12] for number in range(count - 1, -1, -1))
    twice = tiff(SHADES.tobytes(), entries)
    return made | {
        "followed by itself": (plain(following=None), _SHOWN),
        "followed by its header": (plain(following=2), _SHOWN),
        "followed by what is far away": (plain(following=2**31), _SHOWN),
        "big-endian": (plain(order=">"), _SHOWN),
        "big": (plain(changed={OFFSETS: 16}, big=True), _SHOWN),
        "big and big-endian": (plain(changed={OFFSETS: 16}, big=True, order=">"), _EITHER),
        "big by its name": (whole[:2] + b"+" + whole[3:], REFUSED),
        "big, followed by itself": (plain(changed={OFFSETS: 16}, big=True, following=None), _SHOWN),
        "big, of places of 4 bytes": (b"II+\0\4" + plain(changed={OFFSETS: 16}, big=True)[5:], _EITHER),
        "of version 44": (whole[:2] + b"\x2c" + whole[3:], REFUSED),
        "of two orders": (b"IM" + whole[2:], REFUSED),
        "tags from the last to the first": (whole[: at + 2] + swapped + whole[at + 2 + 12 * count :], _EITHER),
        "65535 tags": (whole[:at] + b"\xff\xff" + whole[at + 2 :], _EITHER),
        "no tags": (whole[:at] + b"\0\0" + whole[at + 2 :], REFUSED),
        "a directory in the header": (whole[:4] + b"\4\0\0\0" + whole[8:], REFUSED),
        "a directory far away": (whole[:4] + b"\xff\xff\xff\x7f" + whole[8:], REFUSED),
        "a directory cut": (twice[: at + 40], REFUSED),
    }


def _sizes() -> dict[str, tuple[bytes, Any]]:
    changes: dict[str, tuple[Tags, Any]] = {
        "no width": ({COLUMNS: 0}, REFUSED),
        "no height": ({ROWS: 0}, REFUSED),
        "no tag of width": ({COLUMNS: None}, REFUSED),
        "no tag of height": ({ROWS: None}, REFUSED),
        "width 2^32 - 1": ({COLUMNS: 2**32 - 1}, REFUSED),
        "twice as tall in one strip": ({ROWS: 2 * HEIGHT, STRIP_ROWS: 2 * HEIGHT}, REFUSED),
        "twice as tall, its strip not": ({ROWS: 2 * HEIGHT}, REFUSED),
        "twice as wide": ({COLUMNS: 2 * WIDTH}, REFUSED),
        "half as tall": ({ROWS: 16, STRIP_ROWS: 16}, three(SHADES[:16])),
        "bits 0": ({BITS: 0}, REFUSED),
        "bits 255": ({BITS: 255}, REFUSED),
        "bits of two samples where one is": ({BITS: [8, 8]}, _EITHER),
        "no tag of bits": ({BITS: None}, OTHER),
        "samples 0": ({SAMPLES: 0}, REFUSED),
        "samples 3 of one": ({SAMPLES: 3}, REFUSED),
        "samples 65535": ({SAMPLES: 65_535}, REFUSED),
        "no tag of samples": ({SAMPLES: None}, _SHOWN),
        "photometric 99": ({PHOTOMETRIC: 99}, REFUSED),
        "photometric of a mask": ({PHOTOMETRIC: 4}, REFUSED),
        "photometric of a camera": ({PHOTOMETRIC: 32_803}, REFUSED),
        "photometric of logarithms": ({PHOTOMETRIC: 32_844}, REFUSED),
        "photometric RGB of one sample": ({PHOTOMETRIC: 2}, REFUSED),
        "photometric of a palette without one": ({PHOTOMETRIC: 3}, REFUSED),
        "no tag of photometric": ({PHOTOMETRIC: None}, "what is black"),
        "compression 0": ({COMPRESSION: 0}, REFUSED),
        "compression 65535": ({COMPRESSION: 65_535}, REFUSED),
        "no tag of compression": ({COMPRESSION: None}, _SHOWN),
        "fill order 2 of bytes": ({FILL_ORDER: 2}, OTHER),
        "fill order 9": ({FILL_ORDER: 9}, REFUSED),
    }
    made = {name: (plain(changed=changed), expected) for name, (changed, expected) in changes.items()}
    return made | {
        "colours, two bits for three": (plain(PART, {BITS: [8, 8]}), REFUSED),
        "colours, one bit for three": (plain(PART, {BITS: 8}), PART),
        "colours, depths that differ": (plain(PART, {BITS: [8, 8, 4]}), REFUSED),
        "colours called grey": (plain(PART, {PHOTOMETRIC: 1}), REFUSED),
    }


def _strips() -> dict[str, tuple[bytes, Any]]:
    line = WIDTH
    places = [8 + 8 * line * number for number in range(4)]
    same = np.vstack([SHADES[:8]] * 4)
    changes: dict[str, tuple[Tags, Any]] = {
        "in four": ({}, _SHOWN),
        "one missing": ({OFFSETS: places[:3], COUNTS: [8 * line] * 3}, REFUSED),
        "a single one of four": ({OFFSETS: places[:1], COUNTS: [8 * line]}, REFUSED),
        "one too many": ({OFFSETS: [*places, 8], COUNTS: [8 * line] * 5}, _EITHER),
        "in no order": ({OFFSETS: places[::-1]}, three(SHADES.reshape(4, 8, line)[::-1].reshape(HEIGHT, line))),
        "all the same": ({OFFSETS: places[:1] * 4}, three(same)),
        "one beyond the file": ({OFFSETS: [*places[:3], 10**6]}, REFUSED),
        "one that ends beyond the file": ({OFFSETS: [*places[:3], 8 + HEIGHT * line + 200]}, REFUSED),
        "one at 0": ({OFFSETS: [*places[:3], 0]}, OTHER),
        "counts too small": ({COUNTS: [10] * 4}, REFUSED),
        "counts of 0": ({COUNTS: [0] * 4}, _EITHER),
        "counts too large": ({COUNTS: [2**31] * 4}, _EITHER),
        "no counts": ({COUNTS: None}, _EITHER),
        "no places": ({OFFSETS: None}, REFUSED),
        "places as words": ({OFFSETS: (2, 4, b"abc\0")}, REFUSED),
        "places as fractions": ({OFFSETS: (5, 1, struct.pack("<II", 8, 1))}, REFUSED),
        "of 0 rows": ({STRIP_ROWS: 0}, REFUSED),
        "of -1 rows": ({STRIP_ROWS: (9, 1, struct.pack("<i", -1))}, REFUSED),
        "of 2^32 - 1 rows": ({STRIP_ROWS: 2**32 - 1, OFFSETS: 8, COUNTS: HEIGHT * line}, _SHOWN),
        "of no tag of rows": ({STRIP_ROWS: None, OFFSETS: 8, COUNTS: HEIGHT * line}, _SHOWN),
        "of 7 rows, not 8": ({STRIP_ROWS: 7}, REFUSED),
        "of a row as a word": ({STRIP_ROWS: (2, 2, b"8\0")}, REFUSED),
    }
    made = {f"strips, {name}": (strips(SHADES, 8, changed), expected) for name, (changed, expected) in changes.items()}
    planes = np.ascontiguousarray(PART.transpose(2, 0, 1))
    size = HEIGHT * WIDTH
    apart = tags(PART) | {PLANES: 2, OFFSETS: [8, 8 + size, 8 + 2 * size], COUNTS: [size] * 3}
    return made | {
        "planes": (tiff(planes.tobytes(), apart), PART),
        "planes, one missing": (tiff(planes.tobytes(), apart | {OFFSETS: [8, 8 + size], COUNTS: [size] * 2}), REFUSED),
        "planes, the last cut": (tiff(planes.tobytes()[:-700], apart), REFUSED),
        "planes by their name": (plain(PART, {PLANES: 2}), REFUSED),
        "planes 3": (plain(PART, {PLANES: 3}), (PART, REFUSED)),
        "planes of a single sample": (plain(SHADES, {PLANES: 2}), _SHOWN),
    }


def _tiles() -> dict[str, tuple[bytes, Any]]:
    blocks = [np.ascontiguousarray(SHADES[top : top + 16, left : left + 16]) for top in (0, 16) for left in (0, 16, 32)]
    raw = b"".join(block.tobytes() for block in blocks)
    places = [8 + 256 * number for number in range(6)]
    base = tags() | {
        OFFSETS: None,
        COUNTS: None,
        STRIP_ROWS: None,
        TILE_WIDTH: 16,
        TILE_HEIGHT: 16,
        TILE_OFFSETS: places,
        TILE_COUNTS: [256] * 6,
    }
    changes: dict[str, tuple[Tags, Any]] = {
        "in six": ({}, _SHOWN),
        "the last missing": ({TILE_OFFSETS: places[:5], TILE_COUNTS: [256] * 5}, REFUSED),
        "a row of them missing": ({TILE_OFFSETS: places[:3], TILE_COUNTS: [256] * 3}, REFUSED),
        "one too many": ({TILE_OFFSETS: [*places, 8], TILE_COUNTS: [256] * 7}, _EITHER),
        "one beyond the file": ({TILE_OFFSETS: [*places[:5], 10**6]}, REFUSED),
        "of no width": ({TILE_WIDTH: 0}, REFUSED),
        "of no height": ({TILE_HEIGHT: 0}, REFUSED),
        "of no tag of width": ({TILE_WIDTH: None}, REFUSED),
        "of width 65535": ({TILE_WIDTH: 65_535}, REFUSED),
        "of width 2^32 - 1": ({TILE_WIDTH: 2**32 - 1, TILE_HEIGHT: 2**32 - 1}, REFUSED),
        "of half the width": ({TILE_WIDTH: 8}, REFUSED),
        "counts too small": ({TILE_COUNTS: [9] * 6}, REFUSED),
        "and strips": ({OFFSETS: 8, STRIP_ROWS: HEIGHT, COUNTS: 1536}, None),
    }
    made = {f"tiles, {name}": (tiff(raw, base | changed), expected) for name, (changed, expected) in changes.items()}
    made["tiles that reach beyond the picture"] = written(SHADES[:27, :41], tile=(16, 16)), three(SHADES[:27, :41])
    made["tiles of colours in planes"] = (
        written(
            np.ascontiguousarray(PART.transpose(2, 0, 1)), tile=(16, 16), photometric="rgb", planarconfig="separate"
        ),
        (PART, REFUSED),
    )
    return made


def _turned() -> dict[str, tuple[bytes, Any]]:
    made: dict[str, tuple[bytes, Any]] = {
        f"orientation {value}": (plain(changed={ORIENTATION: value}), _SHOWN) for value in (0, 9, 65_535)
    }
    return made | {
        "orientation as a word": (plain(changed={ORIENTATION: (2, 2, b"6\0")}), _SHOWN),
        "orientation as a long": (plain(changed={ORIENTATION: (4, 1, b"\6\0\0\0")}), np.rot90(_SHOWN, -1)),
        "orientation of two values": (plain(changed={ORIENTATION: [6, 1]}), None),
        "orientation 6 in strips": (strips(SHADES, 8, {ORIENTATION: 6}), np.rot90(_SHOWN, -1)),
    }
