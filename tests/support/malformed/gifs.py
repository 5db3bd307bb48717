"""GIFs written by hand: screens, frames, colour tables and codes that are wrong or odd."""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from embedshift.arrays import Pixels
from support.hostile import Kind
from support.malformed import REFUSED, rows

_WIDTH, _HEIGHT = 40, 30
_INDICES = (np.arange(_HEIGHT)[:, None] * 7 + np.arange(_WIDTH) * 3).astype(np.uint8) % 16
_COLOURS = np.random.default_rng(7).integers(0, 200, (256, 3), dtype=np.uint8)
_SHOWN = _COLOURS[_INDICES]
_TABLE = _COLOURS[:16].tobytes()
# The lines of an interlaced picture in the order of its codes.
_PASSES = [line for start, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for line in range(start, _HEIGHT, step)]
_EITHER = (_SHOWN, REFUSED)


def kinds() -> Iterator[Kind]:
    """All of them."""
    for table in (_screens(), _tables(), _codes(), _extensions(), _several()):
        yield from rows("gif", ".gif", table)


def _literal(indices: Any, size: int = 4, end: bool = True) -> list[int]:
    """Codes that name each index by itself, with a clear code before the codes would become longer."""
    found = []
    for number, index in enumerate(np.ravel(indices)):
        if number % (2**size - 2) == 0:
            found.append(2**size)
        found.append(int(index))
    return found + [2**size + 1] * end


def _blocks(codes: list[int], size: int = 4, block: int = 255) -> bytes:
    """Codes of one length, in blocks."""
    bits = "".join(format(code, f"0{size + 1}b")[::-1] for code in codes)
    bits += "0" * (-len(bits) % 8)
    data = bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))
    parts = (data[at : at + block] for at in range(0, len(data), block))
    return bytes([size]) + b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def _frame(
    indices: Any = _INDICES, left: int = 0, top: int = 0, flags: int = 0, table: bytes = b"", codes: bytes = b""
) -> bytes:
    shape = np.shape(indices)
    head = b"," + struct.pack("<HHHHB", left, top, shape[1], shape[0], flags)
    return head + table + (codes or _blocks(_literal(indices)))


def _gif(
    *parts: bytes, width: int = _WIDTH, height: int = _HEIGHT, flags: int = 0xB3, table: bytes = _TABLE, back: int = 0
) -> bytes:
    """A GIF with a table of 16 colours where nothing else is said."""
    return b"GIF89a" + struct.pack("<HHBBB", width, height, flags, back, 0) + table + b"".join(parts) + b";"


def _on(background: Any, width: int, height: int, left: int, top: int) -> Pixels:
    screen = np.empty((height, width, 3), np.uint8)
    screen[:] = background
    screen[top : top + _HEIGHT, left : left + _WIDTH] = _SHOWN[: height - top, : width - left]
    return screen


def _screens() -> dict[str, tuple[bytes, Any]]:
    frame = _frame()
    return {
        "by hand": (_gif(frame), _SHOWN),
        "GIF87a": (b"GIF87a" + _gif(frame)[6:], _SHOWN),
        "GIF88a": (b"GIF88a" + _gif(frame)[6:], REFUSED),
        "screen of no size": (_gif(frame, width=0, height=0), _EITHER),
        "screen smaller than its frame": (_gif(frame, width=20, height=10), None),
        "screen larger than its frame": (_gif(frame, width=60, height=50), _on(_COLOURS[0], 60, 50, 0, 0)),
        "screen of another background": (
            _gif(frame, width=60, height=50, back=5),
            _on(_COLOURS[5], 60, 50, 0, 0),
        ),
        "frame in a corner of its background": (
            _gif(_frame(left=20, top=20), width=60, height=50, back=9),
            _on(_COLOURS[9], 60, 50, 20, 20),
        ),
        "screen of 65535 x 65535": (_gif(frame, width=65_535, height=65_535), REFUSED),
        "frame beyond the screen": (_gif(_frame(left=10, top=5)), None),
        "frame far beyond the screen": (_gif(_frame(left=60_000, top=60_000)), REFUSED),
        "frame of no width": (_gif(_frame(np.zeros((30, 0), np.uint8))), REFUSED),
        "frame of no height": (_gif(_frame(np.zeros((0, 40), np.uint8))), REFUSED),
        "frame of no size in no screen": (_gif(_frame(np.zeros((0, 0), np.uint8)), width=0, height=0), REFUSED),
        "no frame": (_gif(), REFUSED),
        "no end": (_gif(frame)[:-1], _EITHER),
        "an aspect of pixels": (_gif(frame)[:12] + b"\xff" + _gif(frame)[13:], _SHOWN),
        "junk before its frame": (_gif(b"junk", frame), _EITHER),
        "zeros before its frame": (_gif(bytes(99), frame), _EITHER),
        "an end before its frame": (_gif(b";", frame), REFUSED),
        "interlaced by its name": (_gif(_frame(flags=64)), _SHOWN[np.argsort(_PASSES)]),
        "one pixel": (_gif(_frame([[3]]), width=1, height=1), _COLOURS[[[3]]]),
    }


def _tables() -> dict[str, tuple[bytes, Any]]:
    other = np.random.default_rng(8).integers(0, 256, (16, 3), dtype=np.uint8)
    own = other.tobytes()
    two = _INDICES % 2
    grey = np.repeat(np.arange(16, dtype=np.uint8), 3).tobytes()
    return {
        "no table": (_gif(_frame(), flags=0, table=b""), None),
        "a table of the frame": (_gif(_frame(flags=0x83, table=own)), other[_INDICES]),
        "a table of the frame alone": (_gif(_frame(flags=0x83, table=own), flags=0, table=b""), other[_INDICES]),
        "a table of the frame of 2, indices to 15": (
            _gif(_frame(flags=0x80, table=own[:6])),
            (other[_INDICES] * (_INDICES < 2)[..., None], REFUSED),
        ),
        "a table of 2, indices to 15": (
            _gif(_frame(), flags=0x80, table=_TABLE[:6]),
            (_SHOWN * (_INDICES < 2)[..., None], REFUSED),
        ),
        "a table of 8, indices to 15": (
            _gif(_frame(), flags=0x82, table=_TABLE[:24]),
            (_SHOWN * (_INDICES < 8)[..., None], REFUSED),
        ),
        "a table of 2, indices to 1": (_gif(_frame(two), flags=0x80, table=_TABLE[:6]), _COLOURS[two]),
        "a table of the greys 0 to 15": (_gif(_frame(), table=grey), np.repeat(_INDICES[..., None], 3, 2)),
        "a table of 256": (_gif(_frame(), flags=0xF7, table=_COLOURS.tobytes()), _SHOWN),
        "a table longer than it says": (_gif(_frame(), flags=0xB2), REFUSED),
        "a table cut": (_gif(_frame(), table=_TABLE)[:40], REFUSED),
        "a sorted table": (_gif(_frame(), flags=0xBB), _SHOWN),
        "a background of 255": (_gif(_frame(), back=255), _SHOWN),
    }


def _codes() -> dict[str, tuple[bytes, Any]]:
    whole = _literal(_INDICES)
    half = len(whole) // 2

    def coded(codes: list[int], size: int = 4, block: int = 255) -> bytes:
        return _gif(_frame(codes=_blocks(codes, size, block)))

    def sized(size: int) -> bytes:
        return _gif(_frame(codes=bytes([size]) + _blocks(whole)[1:]))

    made: dict[str, tuple[bytes, Any]] = {
        f"codes of size {size}": (sized(size), REFUSED) for size in (0, 1, 2, 3, 9, 11, 12, 13, 99, 255)
    }
    return made | {
        "codes in blocks of a byte": (coded(whole, block=1), _SHOWN),
        "codes without an end": (coded(whole[:-1]), _EITHER),
        "codes without a clear first": (coded(whole[1:]), _EITHER),
        "two clears first": (coded([16, 16, *whole]), _SHOWN),
        "codes that end in the middle": (coded([*whole[:half], 17]), REFUSED),
        "codes that end before the last pixel": (coded([*whole[:-2], 17]), REFUSED),
        "codes cut in the middle": (coded(whole[:half]), REFUSED),
        "no codes": (coded([]), REFUSED),
        "an end alone": (coded([17]), REFUSED),
        "a clear and an end": (coded([16, 17]), REFUSED),
        "more codes than pixels": (coded([*whole[:-1], *whole]), _EITHER),
        "a code that is not made yet": (coded([16, 1, 31, *whole[2:]]), REFUSED),
        "a first code that is not made yet": (coded([16, 19, *whole[2:]]), REFUSED),
        "indices with room for 256": (_gif(_frame(codes=_blocks(_literal(_INDICES, 8), 8))), _SHOWN),
        "a block less": (_gif(_frame(codes=_blocks(whole)[:257] + b"\0")), REFUSED),
        "a block longer than the file": (_gif(_frame(codes=_blocks(whole)[:257] + b"\xff")), REFUSED),
    }


def _extensions() -> dict[str, tuple[bytes, Any]]:
    frame = _frame()

    def control(flags: int, clear: int = 0) -> bytes:
        return b"!\xf9\x04" + struct.pack("<BHB", flags, 10, clear) + b"\0"

    white = np.where((_INDICES == 3)[..., None], np.uint8(255), _SHOWN)
    nothing = np.full_like(_SHOWN, 255)
    made = {f"disposal {way}": (_gif(control(way << 2), frame), _SHOWN) for way in range(8)}
    return made | {
        "one colour is clear": (_gif(control(1, 3), frame), white),
        "a clear colour beyond the table": (_gif(control(1, 200), frame), _EITHER),
        "nothing but clear": (_gif(control(1, 0), _frame(_INDICES * 0)), nothing),
        "clear around a frame": (_gif(control(1, 3), frame, width=60, height=50), _wide(white)),
        "a control of 1 byte": (_gif(b"!\xf9\x01\0\0", frame), _EITHER),
        "a control of 255 bytes": (_gif(b"!\xf9\xff" + bytes(255) + b"\0", frame), _EITHER),
        "two controls": (_gif(control(1, 5), control(1, 3), frame), white),
        "a control without a frame": (_gif(control(1, 3)), REFUSED),
        "a comment of 100 kB": (_gif(b"!\xfe" + (b"\xff" + bytes(255)) * 400 + b"\0", frame), _SHOWN),
        "a comment without an end": (_gif(b"!\xfe\xff" + bytes(99)), REFUSED),
        "an unknown extension": (_gif(b"!\x77\x03abc\0", frame), _SHOWN),
        "a loop of no bytes": (_gif(b"!\xff\x0bNETSCAPE2.0\0", frame), _EITHER),
        "a plain text": (_gif(b"!\x01\x0c" + bytes(12) + b"\x02hi\0", frame), _SHOWN),
    }


def _wide(shown: Pixels) -> Pixels:
    screen = np.full((50, 60, 3), 255, np.uint8)
    screen[:_HEIGHT, :_WIDTH] = shown
    return screen


def _several() -> dict[str, tuple[bytes, Any]]:
    first = _frame()
    return {
        "a second frame beyond the screen": (_gif(first, _frame(left=30, top=20)), _SHOWN),
        "a second frame of no size": (_gif(first, _frame(np.zeros((0, 0), np.uint8))), _SHOWN),
        "a second frame cut": (_gif(first, _frame()[:-60]), _EITHER),
        "a second frame of bad codes": (_gif(first, _frame(codes=b"\x0d\x01\0\0")), _EITHER),
        "a second frame with a table": (_gif(first, _frame(flags=0x87, table=bytes(768))), _SHOWN),
        "another file behind": (_gif(first) + _gif(_frame(_INDICES * 0)), _SHOWN),
    }
