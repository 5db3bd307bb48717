"""WebPs by their chunks: canvases, frames, alpha and profiles that are wrong or odd."""

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from embedshift.arrays import Pixels
from support.hostile import Kind
from support.hostile.encodings import PHOTO, encoded
from support.malformed import REFUSED, rows

_PART = np.ascontiguousarray(PHOTO[:48, :64])
_ALPHA = (np.arange(48 * 64).reshape(48, 64, 1) % 256).astype(np.uint8)
_ON_WHITE = (_PART * (_ALPHA / 255) + 255 * (1 - _ALPHA / 255)).round()
_BARE = encoded(_PART, "WEBP", lossless=True)[12:]
_LOSSY = encoded(_PART, "WEBP", quality=90)[12:]
_SHOWN = np.asarray(Image.open(io.BytesIO(encoded(_PART, "WEBP", quality=90))).convert("RGB"))
# The name of the chunk of alpha has four letters.
_ALPHAS = b"ALPHA"[:4]
_ICC, _HAS_ALPHA, _EXIF, _XMP, _MOVES = 0x20, 0x10, 0x08, 0x04, 0x02
_EITHER = (_PART, REFUSED)


def kinds() -> Iterator[Kind]:
    """All of them."""
    for table in (_files(), _canvases(), _alphas(), _films(), _codes()):
        yield from rows("webp", ".webp", table)


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _three(number: int) -> bytes:
    return number.to_bytes(3, "little")


def _canvas(flags: int = 0, width: int = 64, height: int = 48) -> bytes:
    return _chunk(b"VP8X", bytes([flags, 0, 0, 0]) + _three(width - 1) + _three(height - 1))


def _webp(*chunks: bytes, size: int | None = None) -> bytes:
    content = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content) if size is None else size) + content


def still(pixels: Pixels) -> bytes:
    """A lossless picture on a canvas of its size."""
    height, width = pixels.shape[:2]
    return _webp(_canvas(width=width, height=height), encoded(pixels, "WEBP", lossless=True)[12:])


def _files() -> dict[str, tuple[bytes, Any]]:
    length = len(_BARE) + 4
    return {
        "by its parts": (_webp(_BARE), _PART),
        "a size of 0": (_webp(_BARE, size=0), REFUSED),
        "a size too small": (_webp(_BARE, size=length // 2), REFUSED),
        "a size too large": (_webp(_BARE, size=length + 1000), _EITHER),
        "a size of 2^32 - 1": (_webp(_BARE, size=2**32 - 1), _EITHER),
        "junk behind": (_webp(_BARE) + b"junk" * 99, _PART),
        "RIFX": (b"RIFX" + _webp(_BARE)[4:], REFUSED),
        "a wave": (b"RIFF" + _webp(_BARE)[4:8] + b"WAVE" + _webp(_BARE)[12:], REFUSED),
        "no chunk": (_webp(), REFUSED),
        "a chunk longer than the file": (_webp(_BARE[:4] + b"\xff\xff\xff\x7f" + _BARE[8:]), REFUSED),
        "a chunk of no bytes": (_webp(_chunk(b"VP8L", b"")), REFUSED),
        "an unknown chunk first": (_webp(_chunk(b"ABCD", b"what"), _BARE), _EITHER),
        "an unknown chunk behind": (_webp(_BARE, _chunk(b"ABCD", b"what")), _PART),
        "two pictures": (_webp(_BARE, _chunk(b"VP8L", bytes(99))), _EITHER),
        "lossless called lossy": (_webp(b"VP8 " + _BARE[4:]), REFUSED),
        "lossy called lossless": (_webp(b"VP8L" + _LOSSY[4:]), REFUSED),
    }


def _canvases() -> dict[str, tuple[bytes, Any]]:
    def at(*chunks: bytes, **canvas: int) -> bytes:
        return _webp(_canvas(**canvas), *chunks, _BARE)

    return {
        "a canvas": (at(), _PART),
        "a canvas wider than its picture": (at(width=128), REFUSED),
        "a canvas taller than its picture": (at(height=49), REFUSED),
        "a canvas smaller than its picture": (at(width=32, height=24), REFUSED),
        "a canvas of 2^24 x 2^24": (at(width=2**24, height=2**24), REFUSED),
        "a canvas of 2 bytes": (_webp(_chunk(b"VP8X", b"\0\0"), _BARE), REFUSED),
        "a canvas of 12 bytes": (_webp(_chunk(b"VP8X", _canvas()[8:] + b"\0\0"), _BARE), _EITHER),
        "a canvas alone": (_webp(_canvas()), REFUSED),
        "a canvas twice": (_webp(_canvas(), _canvas(), _BARE), _EITHER),
        "a canvas behind": (_webp(_BARE, _canvas()), _EITHER),
        "all flags": (at(flags=0xFF), _EITHER),
        "reserved flags": (at(flags=0xC1), _EITHER),
        "a profile": (at(_chunk(b"ICCP", b"no profile"), flags=_ICC), _PART),
        "a profile that is not there": (at(flags=_ICC), _PART),
        "a profile that is not said": (at(_chunk(b"ICCP", b"no profile")), _PART),
        "a profile of no bytes": (at(_chunk(b"ICCP", b""), flags=_ICC), _PART),
        "a profile behind": (_webp(_canvas(_ICC), _BARE, _chunk(b"ICCP", b"no profile")), _PART),
        "a profile longer than the file": (at(b"ICCP\xff\xff\xff\x7f", flags=_ICC), REFUSED),
        "EXIF that is broken": (_webp(_canvas(_EXIF), _BARE, _chunk(b"EXIF", b"MM\0*\0\0\0\x08\xff\xff")), _PART),
        "EXIF of orientation 9": (
            _webp(_canvas(_EXIF), _BARE, _chunk(b"EXIF", b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x09\0\0\0\0\0\0\0")),
            _PART,
        ),
        "XMP of zeros": (_webp(_canvas(_XMP), _BARE, _chunk(b"XMP ", bytes(99))), _PART),
    }


def _filtered(way: int) -> bytes:
    """Alpha as it is, each the difference to what a filter expects: nothing, left, above, or the gradient."""
    wide: Any = _ALPHA[..., 0].astype(int)
    left, above = np.roll(wide, 1, 1), np.roll(wide, 1, 0)
    expected = [wide * 0, left, above, np.clip(left + above - np.roll(above, 1, 1), 0, 255)][way].copy()
    if way:
        expected[0, 1:] = wide[0, :-1]
        expected[1:, 0] = wide[:-1, 0]
        expected[0, 0] = 0
    return np.asarray((wide - expected) % 256, np.uint8).tobytes()


def _alphas() -> dict[str, tuple[bytes, Any]]:
    flat = _SHOWN * (_ALPHA / 255) + 255 * (1 - _ALPHA / 255)

    def with_alpha(content: bytes, flags: int = _HAS_ALPHA) -> bytes:
        return _webp(_canvas(flags), _chunk(_ALPHAS, content), _LOSSY)

    raw = _filtered(0)
    made: dict[str, tuple[bytes, Any]] = {
        f"alpha, filter {way}": (with_alpha(bytes([way << 2]) + _filtered(way)), (flat.round(), 1.5))
        for way in range(4)
    }
    return made | {
        "alpha, compression 2": (with_alpha(b"\2" + raw), REFUSED),
        "alpha, compressed by its name": (with_alpha(b"\1" + raw), REFUSED),
        "alpha, reserved bits": (with_alpha(b"\xc0" + raw), ((flat.round()), REFUSED)),
        "alpha, cut": (with_alpha(b"\0" + raw[:1000]), REFUSED),
        "alpha of no bytes": (with_alpha(b""), REFUSED),
        "alpha that is not said": (with_alpha(b"\0" + raw, flags=0), None),
        "alpha that is not there": (_webp(_canvas(_HAS_ALPHA), _LOSSY), _SHOWN),
        "alpha behind": (_webp(_canvas(_HAS_ALPHA), _LOSSY, _chunk(_ALPHAS, b"\0" + raw)), (_SHOWN, 1.5, REFUSED)),
        "alpha for a lossless one": (_webp(_canvas(_HAS_ALPHA), _chunk(_ALPHAS, b"\0" + raw), _BARE), _EITHER),
        "alpha twice": (_webp(_canvas(_HAS_ALPHA), _chunk(_ALPHAS, b"\0" + raw), _chunk(_ALPHAS, b"\0"), _LOSSY), None),
        "alpha without a canvas": (_webp(_chunk(_ALPHAS, b"\0" + raw), _LOSSY), REFUSED),
    }


def _films() -> dict[str, tuple[bytes, Any]]:
    moves = _chunk(b"ANIM", b"\xff\xff\xff\xff\0\0")

    def frame(
        picture: bytes = _BARE, x: int = 0, y: int = 0, width: int = 64, height: int = 48, flags: int = 0
    ) -> bytes:
        head = _three(x // 2) + _three(y // 2) + _three(width - 1) + _three(height - 1) + _three(100)
        return _chunk(b"ANMF", head + bytes([flags]) + picture)

    def film(*chunks: bytes, **canvas: int) -> bytes:
        return _webp(_canvas(**({"flags": _MOVES} | canvas)), *chunks)

    wide = np.full((60, 80, 3), 255, np.uint8)
    wide[:48, :64] = _PART
    shifted = np.full((60, 80, 3), 255, np.uint8)
    shifted[12:, 16:] = _PART
    return {
        "film of one frame": (film(moves, frame()), _PART),
        "film without frames": (film(moves), REFUSED),
        "film without its head": (film(frame()), REFUSED),
        "film whose flag is not set": (film(moves, frame(), flags=0), _EITHER),
        "film on a larger canvas": (film(moves, frame(), width=80, height=60), (wide, REFUSED)),
        "film in a corner": (film(moves, frame(x=16, y=12), width=80, height=60), (shifted, REFUSED)),
        "film beyond its canvas": (film(moves, frame(x=16, y=12)), REFUSED),
        "film far beyond its canvas": (film(moves, frame(x=2**24, y=2**24)), REFUSED),
        "film, its frame lies": (film(moves, frame(width=32)), _EITHER),
        "film, a frame of no picture": (film(moves, frame(b"")), REFUSED),
        "film, a second frame cut": (film(moves, frame(), frame()[:-200]), _EITHER),
        "film, a second frame of noise": (film(moves, frame(), frame(_chunk(b"VP8L", bytes(99)))), _EITHER),
        "film, a second frame beyond": (film(moves, frame(), frame(x=40)), _EITHER),
        "film, 2000 frames": (
            film(moves, *[frame(_chunk(b"VP8L", _DOT), width=1, height=1)] * 2000, width=1, height=1),
            [[[77, 77, 77]]],
        ),
        "film, a still picture behind": (film(moves, frame(), _BARE), _EITHER),
        "film, a head of 2 bytes": (film(_chunk(b"ANIM", b"\0\0"), frame()), REFUSED),
        "film, all flags of its frame": (film(moves, frame(flags=0xFF)), _EITHER),
    }


_DOT = encoded(np.full((1, 1, 3), 77, np.uint8), "WEBP", lossless=True)[20:]


def _codes() -> dict[str, tuple[bytes, Any]]:
    def lossless(content: bytes) -> bytes:
        return _webp(_chunk(b"VP8L", content))

    def lossy(content: bytes) -> bytes:
        return _webp(_chunk(b"VP8 ", content))

    bare, codes = _BARE[8:], _LOSSY[8:]
    version = bytearray(bare)
    version[4] |= 0x20
    tall = bytearray(codes)
    tall[8:10] = (96).to_bytes(2, "little")
    length = int.from_bytes(_BARE[4:8], "little")
    return {
        "lossless, version 1": (lossless(bytes(version)), REFUSED),
        "lossless, another signature": (lossless(b"\x2e" + bare[1:]), REFUSED),
        "lossless, cut": (lossless(bare[: length // 2]), REFUSED),
        "lossless, all but a byte": (lossless(bare[: length - 3]), REFUSED),
        "lossless, ones behind": (lossless(bare[: length // 2] + b"\xff" * 20), REFUSED),
        "lossless, 16384 x 16384": (lossless(b"\x2f\xff\xff\xff\x0f" + bare[5:]), REFUSED),
        "lossy, twice as tall": (lossy(bytes(tall)), REFUSED),
        "lossy, no width": (lossy(codes[:6] + b"\0\0" + codes[8:]), REFUSED),
        "lossy, no key frame": (lossy(bytes([codes[0] | 1]) + codes[1:]), REFUSED),
        "lossy, not to be shown": (lossy(bytes([codes[0] & ~0x10]) + codes[1:]), REFUSED),
        "lossy, another signature": (lossy(codes[:3] + b"\0\0\0" + codes[6:]), REFUSED),
        "lossy, cut": (lossy(codes[: len(codes) // 2]), REFUSED),
        "lossy, a first part of 2^19 bytes": (lossy(bytes([codes[0] | 0xE0, 0xFF, 0xFF]) + codes[3:]), REFUSED),
        "lossy, scaled by its header": (lossy(codes[:7] + bytes([codes[7] | 0xC0]) + codes[8:]), (_SHOWN, 1.5)),
    }
