"""BMPs written by hand: headers, masks, tables of colours and run lengths that are wrong or odd."""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from embedshift.arrays import Pixels
from support.hostile import Kind
from support.hostile.encodings import PHOTO, three
from support.malformed import OTHER, REFUSED, rows

_PART: Pixels = np.ascontiguousarray(PHOTO[:21, :33])
_HEIGHT, _WIDTH = _PART.shape[:2]
_INDICES = (np.arange(_HEIGHT)[:, None] * 5 + np.arange(_WIDTH)).astype(np.uint8) % 16
_COLOURS = np.random.default_rng(9).integers(0, 256, (256, 3), dtype=np.uint8)
_SHOWN = _COLOURS[_INDICES]
_TABLE = np.pad(_COLOURS[:16, ::-1], ((0, 0), (0, 1))).tobytes()


def kinds() -> Iterator[Kind]:
    """All of them."""
    for table in (_headers(), _masks(), _tables(), _runs()):
        yield from rows("bmp", ".bmp", table)


def _lines(values: Any, bits: int) -> bytes:
    """Rows from below, each in whole groups of four bytes."""
    wide = np.asarray(values)[::-1]
    if bits < 8:
        packed = [np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:].reshape(-1)).tobytes() for row in wide]
    else:
        packed = [row.tobytes() for row in wide]
    return b"".join(row + bytes(-len(row) % 4) for row in packed)


def _bmp(
    bits: int, pixels: bytes, table: bytes = b"", *, width: int = _WIDTH, height: int = _HEIGHT, planes: int = 1,
    compression: int = 0, colours: int = 0, size: int = 40, more: bytes = b"", offset: int | None = None,
) -> bytes:  # fmt: skip
    fields = (planes, bits, compression, len(pixels), 2835, 2835, colours, 0)
    header = struct.pack("<iii", size, width, height) + struct.pack("<HHIIiiII", *fields) + more
    start = 14 + len(header) + len(table) if offset is None else offset
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + table + pixels


_TRUE = _lines(_PART[..., ::-1], 24)
_FOUR = _lines(_INDICES, 4)
_EIGHT = _lines(_INDICES, 8)


def _headers() -> dict[str, tuple[bytes, Any]]:
    old = b"BM" + struct.pack("<IHHI", 0, 0, 0, 26) + struct.pack("<IHHHH", 12, _WIDTH, _HEIGHT, 1, 24) + _TRUE
    old_table = _COLOURS[:16, ::-1].tobytes()
    old_four = (
        b"BM" + struct.pack("<IHHI", 0, 0, 0, 74) + struct.pack("<IHHHH", 12, _WIDTH, _HEIGHT, 1, 4) + old_table + _FOUR
    )
    whole = _bmp(24, _TRUE)
    return {
        "core header": (old, _PART),
        "core header, 4 bits": (old_four, _SHOWN),
        "top-down": (_bmp(24, _lines(_PART[::-1, :, ::-1], 24), height=-_HEIGHT), _PART),
        "header of OS/2": (_bmp(24, _TRUE, size=64, more=bytes(24)), _PART),
        "header of 16 bytes": (_bmp(24, _TRUE, size=16), REFUSED),
        "header of 0 bytes": (_bmp(24, _TRUE, size=0), REFUSED),
        "header of 2^31 - 1 bytes": (_bmp(24, _TRUE, size=2**31 - 1), REFUSED),
        "version 4": (_bmp(24, _TRUE, size=108, more=bytes(68)), _PART),
        "version 5 with a profile far away": (
            _bmp(24, _TRUE, size=124, more=bytes(16) + b"DEBM" + bytes(52) + struct.pack("<III", 2**31, 2**31, 0)),
            _PART,
        ),
        "no width": (_bmp(24, _TRUE, width=0), REFUSED),
        "no height": (_bmp(24, _TRUE, height=0), REFUSED),
        "negative width": (_bmp(24, _TRUE, width=-_WIDTH), REFUSED),
        "height -2^31": (_bmp(24, _TRUE, height=-(2**31)), REFUSED),
        "twice as tall": (_bmp(24, _TRUE, height=2 * _HEIGHT), REFUSED),
        "twice as wide": (_bmp(24, _TRUE, width=2 * _WIDTH), REFUSED),
        "one line cut": (whole[:-100], REFUSED),
        "no planes": (_bmp(24, _TRUE, planes=0), (_PART, REFUSED)),
        "pixels in the header": (_bmp(24, _TRUE, offset=2), None),
        "pixels beyond the file": (_bmp(24, _TRUE, offset=10**6), REFUSED),
        "a gap before the pixels": (_bmp(24, bytes(64) + _TRUE, offset=14 + 40 + 64), _PART),
        "a wrong size of file": (whole[:2] + b"\xff" * 4 + whole[6:], _PART),
        "JPEG inside": (_bmp(24, _TRUE, compression=4), REFUSED),
        "PNG inside": (_bmp(24, _TRUE, compression=5), REFUSED),
        "compression 99": (_bmp(24, _TRUE, compression=99), REFUSED),
        "an array of bitmaps": (b"BA" + whole[2:], REFUSED),
    }


def _masks() -> dict[str, tuple[bytes, Any]]:
    wide = _PART.astype(np.uint32)
    red, green, blue = (wide[..., channel] for channel in range(3))
    alpha = (np.arange(_HEIGHT * _WIDTH).reshape(_HEIGHT, _WIDTH) % 256).astype(np.uint32)
    on_white = _PART * (alpha / 255)[..., None] + 255 * (1 - alpha / 255)[..., None]
    words = {
        "555": (16, (red >> 3 << 10 | green >> 3 << 5 | blue >> 3).astype("<u2"), (0x7C00, 0x3E0, 0x1F)),
        "565": (16, (red >> 3 << 11 | green >> 2 << 5 | blue >> 3).astype("<u2"), (0xF800, 0x7E0, 0x1F)),
        "444": (16, (red >> 4 << 8 | green >> 4 << 4 | blue >> 4).astype("<u2"), (0xF00, 0xF0, 0xF)),
        "888": (32, (red << 16 | green << 8 | blue).astype("<u4"), (0xFF0000, 0xFF00, 0xFF)),
        "888 the other way": (32, (red | green << 8 | blue << 16).astype("<u4"), (0xFF, 0xFF00, 0xFF0000)),
        "888 shifted": (32, (red << 24 | green << 16 | blue << 8).astype("<u4"), (0xFF000000, 0xFF0000, 0xFF00)),
        "10 10 10": (32, (red << 22 | green << 12 | blue << 2).astype("<u4"), (0x3FF00000, 0xFFC00, 0x3FF)),
    }
    made: dict[str, tuple[bytes, Any]] = {}
    for name, (bits, values, masks) in words.items():
        near = _rounded(_PART, name)
        data = _bmp(bits, _lines(values, bits), struct.pack("<III", *masks), compression=3)
        made[f"masks {name}"] = data, ((near, REFUSED) if bits == 32 or name == "444" else (near, 1.0))
    packed = (alpha << 24 | red << 16 | green << 8 | blue).astype("<u4")
    shut = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + bytes(52)
    plain = (red << 16 | green << 8 | blue).astype("<u4")
    return made | {
        "alpha": (_bmp(32, _lines(packed, 32), compression=3, size=108, more=shut), (on_white.round(), 1.0)),
        "32 bits, the fourth is nothing": (_bmp(32, _lines(plain, 32)), _PART),
        "32 bits, the fourth is noise": (_bmp(32, _lines(packed, 32)), _PART),
        "16 bits": (_bmp(16, _lines(words["555"][1], 16)), (_rounded(_PART, "555"), 1.0)),
        "masks that overlap": (_bmp(32, _lines(plain, 32), struct.pack("<III", 255, 255, 255), compression=3), REFUSED),
        "masks of nothing": (_bmp(32, _lines(plain, 32), bytes(12), compression=3), None),
        "masks in 24 bits": (
            _bmp(24, _TRUE, struct.pack("<III", 0xFF0000, 0xFF00, 0xFF), compression=3),
            (_PART, REFUSED),
        ),
        "64 bits": (_bmp(64, _TRUE * 3), REFUSED),
        "0 bits": (_bmp(0, _TRUE), REFUSED),
        "3 bits": (_bmp(3, _TRUE), REFUSED),
    }


def _rounded(pixels: Pixels, masks: str) -> Pixels:
    if masks.startswith(("888", "10")):
        return pixels
    bits = np.array([int(each) for each in masks])
    most = 2**bits - 1
    return np.asarray((pixels >> (8 - bits).astype(np.uint8)).astype(int) * 255 / most).round().astype(np.uint8)


def _tables() -> dict[str, tuple[bytes, Any]]:
    def table(colours: Any) -> bytes:
        return np.pad(np.asarray(colours, np.uint8)[:, ::-1], ((0, 0), (0, 1))).tobytes()

    two = _INDICES % 2
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
    black_white, white_black = np.array([[0] * 3, [255] * 3]), np.array([[255] * 3, [0] * 3])
    quarter = _INDICES % 4
    made: dict[str, tuple[bytes, Any]] = {}
    for bits, values in ((1, two), (4, _INDICES), (8, _INDICES)):
        pixels = _lines(values, bits)
        shades = three(values)
        count = 2**bits
        made |= {
            f"{bits} bits": (_bmp(bits, pixels, table(_COLOURS[:count])), _COLOURS[values]),
            f"{bits} bits, greys from 0": (_bmp(bits, pixels, table(greys[:count])), shades),
            f"{bits} bits, {count} said": (_bmp(bits, pixels, table(greys[:count]), colours=count), shades),
        }
        for name, colours in {"black and white": black_white, "white and black": white_black}.items():
            data = _bmp(bits, _lines(two, bits), table(colours), colours=2)
            made[f"{bits} bits, {name} said"] = data, colours[two]
    return made | {
        "8 bits, 16 greys said": (_bmp(8, _EIGHT, table(greys[:16]), colours=16), three(_INDICES)),
        "4 bits, 3 said": (_bmp(4, _lines(_INDICES % 3, 4), table(_COLOURS[:3]), colours=3), _COLOURS[_INDICES % 3]),
        "4 bits, 3 said, indices to 15": (
            _bmp(4, _FOUR, table(_COLOURS[:3]), colours=3),
            _SHOWN * (_INDICES < 3)[..., None],
        ),
        "8 bits, 5 said, indices to 15": (
            _bmp(8, _EIGHT, table(_COLOURS[:5]), colours=5),
            _SHOWN * (_INDICES < 5)[..., None],
        ),
        "8 bits, a table of 300": (_bmp(8, _EIGHT, table(_COLOURS) + bytes(176), colours=300), (_SHOWN, REFUSED)),
        "8 bits, 65537 said": (_bmp(8, _EIGHT, table(_COLOURS), colours=65_537), REFUSED),
        "8 bits, 2^32 - 1 said": (_bmp(8, _EIGHT, table(_COLOURS), colours=2**32 - 1), REFUSED),
        "8 bits, a table cut": (_bmp(8, _EIGHT, table(_COLOURS[:16]))[: 14 + 40 + 30], REFUSED),
        "2 bits": (_bmp(2, _lines(quarter, 2), table(_COLOURS[:4])), (_COLOURS[quarter], REFUSED)),
        "24 bits with a table": (_bmp(24, _TRUE, table(_COLOURS[:16]), colours=16), _PART),
    }


def _runs() -> dict[str, tuple[bytes, Any]]:
    """Run lengths: of 8 bits compression 1, of 4 bits compression 2."""

    def rle(bits: int, codes: bytes, **options: Any) -> bytes:
        return _bmp(bits, codes, _TABLE, compression=1 if bits == 8 else 2, colours=16, **options)

    rows8 = [b"".join(bytes([1, value]) for value in row) for row in _INDICES[::-1]]
    rows4 = [b"".join(bytes([1, value << 4]) for value in row) for row in _INDICES[::-1]]
    whole8, whole4 = (b"\0\0".join(each) for each in (rows8, rows4))
    absolute8 = b"\0\0".join(b"\0" + bytes([_WIDTH]) + row.tobytes() + b"\0" for row in _INDICES[::-1])
    # 33 pixels are 17 bytes, and one of padding.
    packed = [_lines(row[None], 4)[:17] + b"\0" for row in _INDICES[::-1]]
    absolute4 = b"\0\0".join(b"\0" + bytes([_WIDTH]) + row for row in packed)
    end, blank = b"\0\1", _COLOURS[_INDICES * 0]
    lower = _SHOWN.copy()
    lower[: _HEIGHT - 10] = _COLOURS[0]
    skipped = b"\0\2\5\4" + b"".join(b"\1\7" for _ in range(3)) + end
    hole = blank.copy()
    hole[_HEIGHT - 5, 5:8] = _COLOURS[7]
    return {
        "runs of 8 bits": (rle(8, whole8 + end), _SHOWN),
        "runs of 8 bits without an end": (rle(8, whole8), (_SHOWN, REFUSED)),
        "runs of 4 bits": (rle(4, whole4 + end), (_SHOWN, REFUSED)),
        "literals of 8 bits": (rle(8, absolute8 + end), _SHOWN),
        "literals of 4 bits, an odd number": (rle(4, absolute4 + end), (_SHOWN, REFUSED)),
        "a run over the end of its line": (rle(8, bytes([255, 3]) + whole8 + end), REFUSED),
        "a run over the end of the picture": (rle(8, whole8 + b"\xff\3" * 99 + end), (_SHOWN, REFUSED)),
        "literals over the end of their line": (rle(8, b"\0\xff" + bytes(256) + whole8 + end), REFUSED),
        "literals beyond the file": (rle(8, b"\0\xff\1\2"), REFUSED),
        "an end after ten lines": (rle(8, b"\0\0".join(rows8[:10]) + end), (lower, REFUSED)),
        "an end at once": (rle(8, end), (blank, REFUSED)),
        "no codes": (rle(8, b""), REFUSED),
        "nothing but ends of lines": (rle(8, b"\0\0" * 9999 + end), (blank, REFUSED)),
        "a step over the end": (rle(8, b"\0\2\xff\xff" * 99 + end), (blank, REFUSED)),
        "a step, three pixels, and an end": (rle(8, skipped), (hole, REFUSED)),
        "two empty lines first": (rle(8, b"\0\0\0\0" + whole8 + end), (np.vstack([_SHOWN[2:], blank[:2]]), REFUSED)),
        "runs of 8 bits called 4": (rle(4, whole8 + end), OTHER),
        "runs of 4 bits in 8": (_bmp(8, whole4 + end, _TABLE, compression=2, colours=16), REFUSED),
        "runs of 8 bits in 24": (_bmp(24, whole8 + end, _TABLE, compression=1), REFUSED),
        "runs of 24 bits in lines of 60 million": (
            _bmp(24, b"\1\1\0\0" * 3 + end, compression=1, width=60_000_000, height=1),
            REFUSED,
        ),
        "runs from above": (rle(8, b"\0\0".join(rows8[::-1]) + end, height=-_HEIGHT), (_SHOWN, REFUSED)),
    }
