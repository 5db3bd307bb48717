"""PNGs whose palette, transparency, filters, passes or streams of pixels are wrong or odd."""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from embedshift.arrays import Pixels
from support.hostile import Kind
from support.hostile.encodings import GREY, PHOTO, chunk, interlaced_png, png_of, three
from support.malformed import REFUSED, rows
from support.malformed.png_chunks import PART, built, header

_HEIGHT, _WIDTH = PART.shape[:2]
_LINES = b"".join(b"\0" + line.tobytes() for line in PART)
_INDICES = np.arange(_HEIGHT * _WIDTH, dtype=np.uint8).reshape(_HEIGHT, _WIDTH)
_COLOURS = np.random.default_rng(5).integers(0, 256, (256, 3), dtype=np.uint8)
_STEPS = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def kinds() -> Iterator[Kind]:
    """All of them."""
    for table in (_palettes(), _clear(), _streams(), _filters(), _passes()):
        yield from rows("png", ".png", table)


def _packed(values: Any, depth: int) -> bytes:
    bits = np.unpackbits(values[..., None], axis=-1)[..., -depth:].reshape(len(values), -1)
    return b"".join(b"\0" + np.packbits(line).tobytes() for line in bits)


def _indexed(values: Any, depth: int, *extra: bytes, colour: int = 3) -> bytes:
    codes = zlib.compress(_packed(values, depth))
    return built(header(values.shape[1], values.shape[0], depth, colour), *extra, chunk(b"IDAT", codes))


def _palette(count: int) -> bytes:
    return chunk(b"PLTE", _COLOURS[:count].tobytes())


def _white_where(clear: Any, pixels: Any) -> Pixels:
    return np.where(np.asarray(clear)[..., None], np.uint8(255), pixels).astype(np.uint8)


def _shown(values: Any, count: int) -> Pixels:
    """Colours, and black for those that a palette lacks, as OpenCV and browsers show them."""
    return np.where((values < count)[..., None], _COLOURS[values], 0).astype(np.uint8)


def _one_beyond(few: Any) -> Pixels:
    return np.where(np.arange(_WIDTH) == 5, 3, few).astype(np.uint8)


def _palettes() -> dict[str, tuple[bytes, Any]]:
    made: dict[str, tuple[bytes, Any]] = {"no palette": (_indexed(_INDICES, 8), REFUSED)}
    for depth in (1, 2, 4, 8):
        values = _INDICES & (2**depth - 1)
        made[f"palette, {depth} bits"] = _indexed(values, depth, _palette(2**depth)), _COLOURS[values]
        made[f"palette, {depth} bits, one colour too few"] = (
            _indexed(values, depth, _palette(2**depth - 1)),
            _shown(values, 2**depth - 1),
        )
        spare = (_indexed(values, depth, _palette(min(256, 2**depth + 7))), (_COLOURS[values], REFUSED))
        made[f"palette, {depth} bits, colours to spare"] = spare
    few = _INDICES % 3
    return made | {
        "palette of no colours": (_indexed(_INDICES, 8, chunk(b"PLTE", b"")), REFUSED),
        "palette of 7 bytes": (
            _indexed(few % 2, 8, chunk(b"PLTE", _COLOURS.tobytes()[:7])),
            (_COLOURS[few % 2], REFUSED),
        ),
        "palette of 300 colours": (
            _indexed(few, 8, chunk(b"PLTE", _COLOURS.tobytes() + bytes(132))),
            (_COLOURS[few], REFUSED),
        ),
        "palette twice": (_indexed(few, 8, _palette(3), _palette(3)), (_COLOURS[few], REFUSED)),
        "palette behind the pixels": (
            built(header(_WIDTH, _HEIGHT, 8, 3), chunk(b"IDAT", zlib.compress(_packed(few, 8))), _palette(3)),
            REFUSED,
        ),
        "palette for a single colour": (_indexed(few * 0, 8, _palette(1)), _COLOURS[few * 0]),
        "a column of indices beyond": (_indexed(_one_beyond(few), 8, _palette(3)), _shown(_one_beyond(few), 3)),
        "palette in grey": (_indexed(_INDICES, 8, _palette(3), colour=0), (three(_INDICES), REFUSED)),
    }


def _clear() -> dict[str, tuple[bytes, Any]]:
    made: dict[str, tuple[bytes, Any]] = {}
    for depth in (1, 2, 4, 8):
        level = 2**depth - 1
        values = _INDICES & level
        shown = three(values.astype(int) * 255 // level)
        for clear in {1, level - 1, level} - {0}:
            data = _indexed(values, depth, chunk(b"tRNS", struct.pack(">H", clear)), colour=0)
            made[f"grey of {depth} bits, level {clear} is clear"] = data, _white_where(values == clear, shown)
    deep = np.random.default_rng(6).integers(0, 65536, PART.shape, dtype=np.uint16)
    deep[3:9, 5:20] = 0x1234, 0x8001, 0xFFEE
    hole = np.all(deep == np.array([0x1234, 0x8001, 0xFFEE]), axis=-1)
    near = np.where(hole[..., None], deep + 1, deep).astype(np.uint16)
    colour = chunk(b"tRNS", struct.pack(">HHH", 0x1234, 0x8001, 0xFFEE))
    values = _INDICES % 4
    shades = _COLOURS[values]
    own = tuple(int(value) for value in PART[7, 7])
    return made | {
        "deep colours, one is clear": (png_of(deep, 2, colour), (_white_where(hole, deep >> 8), REFUSED)),
        "deep colours, a near one is clear": (png_of(near, 2, colour), (near >> 8, REFUSED)),
        "colours, one is clear": (
            png_of(PART, 2, chunk(b"tRNS", struct.pack(">HHH", *own))),
            _white_where(np.all(np.array(own) == PART, axis=-1), PART),
        ),
        "colours, a clear one of 16 bits": (
            png_of(PART, 2, chunk(b"tRNS", struct.pack(">HHH", *(value + 256 for value in own)))),
            None,
        ),
        "colours, clear cut": (png_of(PART, 2, chunk(b"tRNS", b"\0\1")), (PART, REFUSED)),
        "grey, clear cut": (png_of(GREY, 0, chunk(b"tRNS", b"\0")), (three(GREY), REFUSED)),
        "clear of no bytes": (_indexed(values, 8, _palette(4), chunk(b"tRNS", b"")), (shades, REFUSED)),
        "more clear than colours": (
            _indexed(values, 8, _palette(4), chunk(b"tRNS", b"\xff" * 4 + bytes(9))),
            (shades, REFUSED),
        ),
        "300 clear": (_indexed(values, 8, _palette(4), chunk(b"tRNS", b"\xff" * 300)), (shades, REFUSED)),
        "clear before its palette": (_indexed(values, 8, chunk(b"tRNS", b"\0"), _palette(4)), None),
        "the first colour is clear": (
            _indexed(values, 8, _palette(4), chunk(b"tRNS", b"\0")),
            _white_where(values == 0, shades),
        ),
        "two colours are clear": (
            _indexed(values, 8, _palette(4), chunk(b"tRNS", b"\0\xff\0")),
            _white_where(values % 2 == 0, shades),
        ),
        "clear where alpha is": (
            png_of(np.dstack([PART, PART[..., 0] * 0 + 255]), 6, chunk(b"tRNS", bytes(6))),
            (PART, REFUSED),
        ),
    }


def _stream(codes: bytes, *fields: int) -> bytes:
    return built(header(*(fields or (_WIDTH, _HEIGHT, 8, 2))), chunk(b"IDAT", codes))


def _streams() -> dict[str, tuple[bytes, Any]]:
    line = len(_LINES) // _HEIGHT
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    bare = raw.compress(_LINES) + raw.flush()
    whole = zlib.compress(_LINES)
    small = zlib.compressobj(9, zlib.DEFLATED, 9)
    words = zlib.compressobj(zdict=_LINES[:100])
    grey = b"".join(b"\0" + row.tobytes() for row in GREY)
    return {
        "stream of half the lines": (_stream(zlib.compress(_LINES[: line * 24])), REFUSED),
        "stream of all but a line": (_stream(zlib.compress(_LINES[:-line])), REFUSED),
        "stream of all but a byte": (_stream(zlib.compress(_LINES[:-1])), REFUSED),
        "stream of no line": (_stream(zlib.compress(b"")), REFUSED),
        "grey, twice as tall as its stream": (_stream(zlib.compress(grey), 120, 180, 8, 0), REFUSED),
        "palette, twice as tall as its stream": (
            built(
                header(_WIDTH, 2 * _HEIGHT, 8, 3), _palette(256), chunk(b"IDAT", zlib.compress(_packed(_INDICES, 8)))
            ),
            REFUSED,
        ),
        "colours read from a grey stream": (_stream(zlib.compress(grey), 120, 90, 8, 2), REFUSED),
        "black in its last lines": (
            png_of(PART * (np.arange(_HEIGHT) < 30)[:, None, None], 2),
            PART * (np.arange(_HEIGHT) < 30)[:, None, None],
        ),
        "stream with a line too many": (_stream(zlib.compress(_LINES + bytes(line))), (PART, REFUSED)),
        "stream with a wrong sum": (_stream(whole[:-1] + bytes([whole[-1] ^ 1])), REFUSED),
        "stream without its sum": (_stream(whole[:-4]), (PART, REFUSED)),
        "stream without its header": (_stream(bare), REFUSED),
        "stream of a window of 512": (_stream(small.compress(_LINES) + small.flush()), PART),
        "stream of a wrong header": (_stream(b"\x79" + whole[1:]), REFUSED),
        "stream of a window too large": (_stream(b"\x88\x1c" + whole[2:]), REFUSED),
        "stream with a dictionary": (_stream(words.compress(_LINES) + words.flush()), REFUSED),
        "stream stored": (_stream(zlib.compress(_LINES, 0)), PART),
        "stream and another": (_stream(whole + whole), (PART, REFUSED)),
        "stream and junk": (_stream(whole + b"junk" * 99), (PART, REFUSED)),
        "stream of many empty blocks": (_stream(whole[:2] + b"\0\0\0\xff\xff" * 5000 + whole[2:]), PART),
        "stream of a block of type 3": (_stream(b"\x78\x9c\x07" + bytes(99)), REFUSED),
    }


def _filters() -> dict[str, tuple[bytes, Any]]:
    line = len(_LINES) // _HEIGHT

    def first(kind: int, row: int = 0) -> bytes:
        return _stream(zlib.compress(_LINES[: line * row] + bytes([kind]) + _LINES[line * row + 1 :]))

    wide = PART.astype(int)
    above = np.vstack([wide[:1] * 0, wide[:-1]])
    left = np.hstack([wide[:, :1] * 0, wide[:, :-1]])
    means = ((wide - (above + left) // 2) % 256).astype(np.uint8)
    made = {f"filter {kind}": (first(kind), REFUSED) for kind in (5, 6, 128, 255)}
    return made | {
        "filter 5 in the last line": (first(5, _HEIGHT - 1), REFUSED),
        "filter of means": (_stream(zlib.compress(b"".join(b"\3" + row.tobytes() for row in means))), PART),
        "filter up in the first line": (_stream(zlib.compress(b"\2" + _LINES[1:])), PART),
    }


def _passes() -> dict[str, tuple[bytes, Any]]:
    whole = interlaced_png(PHOTO)
    codes = zlib.decompress(whole[41:-16])
    made: dict[str, tuple[bytes, Any]] = {}
    at = 0
    for number, (top, left, down, across) in enumerate(_STEPS, 1):
        lines = PHOTO[top::down, left::across]
        end = at + lines.shape[0] * (1 + 3 * lines.shape[1])
        for name, kept in {"in the middle of": (at + end) // 2, "behind": end}.items():
            stream = chunk(b"IDAT", zlib.compress(codes[:kept]))
            outcome: Any = PHOTO if kept == len(codes) else REFUSED
            made[f"passes, cut {name} number {number}"] = built(whole[8:33], stream), outcome
        at = end
    plain = built(whole[8:33], chunk(b"IDAT", zlib.compress(_LINES)))
    return made | {"passes by its name": (plain, REFUSED)}
