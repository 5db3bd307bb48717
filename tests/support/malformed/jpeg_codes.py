"""JPEGs whose frame, tables or scans are wrong or odd."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from embedshift.arrays import Pixels
from support.hostile import Kind
from support.hostile.encodings import GREY, PHOTO, PICTURE, encoded, other_decoder, three
from support.malformed import REFUSED, rows
from support.malformed.jpeg_parts import (
    EOI,
    HALVED,
    INK,
    PLAIN,
    PROGRESSIVE,
    RED_GREEN_BLUE,
    RESTARTS,
    SHOWN,
    before,
    behind_soi,
    edited,
    joined,
    lossless,
    placed,
    segment,
    split,
)

_SAME = (SHOWN, 1.5)
_SOF, _DHT, _DQT, _SOS, _DRI = 0xC0, 0xC4, 0xDB, 0xDA, 0xDD


def kinds() -> Iterator[Kind]:
    """All of them."""
    for table in (_frames(), _lossless(), _tables(), _scans(), _restarts()):
        yield from rows("jpeg", ".jpg", table)


def _size(height: int, width: int) -> Any:
    return placed(1, height.to_bytes(2, "big") + width.to_bytes(2, "big"))


def _factors(*factors: int) -> Any:
    def change(content: bytes) -> bytes:
        found = bytearray(content)
        for number, each in enumerate(factors):
            found[7 + 3 * number] = each
        return bytes(found)

    return change


def _frames() -> dict[str, tuple[bytes, Any]]:
    grey = encoded(PICTURE.convert("L"), "JPEG", quality=90)
    height, width = GREY.shape
    changes: dict[str, tuple[bytes, Any, Any]] = {
        "twice as tall as its codes": (PLAIN, _size(2 * height, width), REFUSED),
        "eight lines taller than its codes": (PLAIN, _size(height + 8, width), REFUSED),
        "halved colours, twice as tall": (HALVED, _size(2 * height, width), REFUSED),
        "twice as wide as its codes": (PLAIN, _size(height, 2 * width), REFUSED),
        "grey, twice as tall": (grey, _size(2 * height, width), REFUSED),
        "ink, twice as tall": (INK, _size(2 * height, width), REFUSED),
        "65500 lines tall": (PLAIN, _size(65_500, width), REFUSED),
        "taller than the library reads": (PLAIN, _size(65_535, width), REFUSED),
        "half as tall as its codes": (PLAIN, _size(48, width), (SHOWN[:48], 1.5)),
        "no width": (PLAIN, _size(height, 0), REFUSED),
        "no size at all": (PLAIN, _size(0, 0), REFUSED),
        "no component": (PLAIN, lambda content: content[:5] + b"\0", REFUSED),
        "two components": (PLAIN, lambda content: content[:5] + b"\2" + content[6:12], REFUSED),
        "255 components": (PLAIN, placed(5, b"\xff"), REFUSED),
        "a component less than it says": (PLAIN, lambda content: content[:-3], REFUSED),
        "frame cut to a byte": (PLAIN, lambda content: content[:1], REFUSED),
        "frame of no bytes": (PLAIN, lambda content: b"", REFUSED),
        "no frame": (PLAIN, lambda content: None, REFUSED),
        "sampling 0": (PLAIN, _factors(0x00), REFUSED),
        "sampling 1 x 0": (PLAIN, _factors(0x10), REFUSED),
        "sampling 5 x 1": (PLAIN, _factors(0x51), REFUSED),
        "sampling 4 x 4 of all": (PLAIN, _factors(0x44, 0x44, 0x44), REFUSED),
        "sampling 3 x 1 and 2 x 1": (PLAIN, _factors(0x31, 0x21, 0x11), REFUSED),
        "grey with sampling 2 x 2": (grey, _factors(0x22), (other_decoder(grey), 1.5)),
        "quantization table 4": (PLAIN, placed(8, b"\4"), REFUSED),
        "depth 0": (PLAIN, placed(0, b"\0"), REFUSED),
        "12 bits": (PLAIN, placed(0, b"\x0c"), REFUSED),
        "16 bits": (PLAIN, placed(0, b"\x10"), REFUSED),
    }
    made = {name: (edited(data, _SOF, change), expected) for name, (data, change, expected) in changes.items()}
    for name, becomes in {"hierarchical": 0xC5, "lossless by its name": 0xC3, "JPEG-LS by its name": 0xF7}.items():
        made[name] = edited(PLAIN, _SOF, bytes, becomes), REFUSED
    arithmetic = edited(PLAIN, _SOF, bytes, 0xC9)
    made["arithmetic by its name"] = arithmetic, (other_decoder(arithmetic), 1.5)
    made["extended by its name"] = edited(PLAIN, _SOF, bytes, 0xC1), _SAME
    frame = next(content for marker, content in split(PLAIN)[0] if marker == _SOF)
    made["two frames"] = before(PLAIN, _SOF, segment(_SOF, frame)), REFUSED
    made["a frame of another size before"] = before(PLAIN, _SOF, segment(_SOF, _size(9, 9)(frame))), REFUSED
    number = segment(0xDC, height.to_bytes(2, "big"))
    made["height behind the scan"] = edited(PLAIN, _SOF, _size(0, width))[:-2] + number + EOI, REFUSED
    made["height twice, also behind the scan"] = PLAIN[:-2] + number + EOI, _SAME
    twice = edited(PROGRESSIVE, 0xC2, _size(2 * height, width))
    made["progressive, twice as tall"] = twice, REFUSED
    return made


def _lossless() -> dict[str, tuple[bytes, Any]]:
    small, grey = PHOTO[:24, :32], GREY[:24, :32]
    deep = np.arange(24 * 32).reshape(24, 32) * 5 % 4096
    made: dict[str, tuple[bytes, Any]] = {
        f"lossless, predictor {how}": (lossless(grey, how), (three(grey), REFUSED)) for how in range(1, 8)
    }
    made["lossless in colours"] = lossless(small), (small, REFUSED)
    made["lossless, 12 bits"] = lossless(deep.astype(np.uint16), depth=12), REFUSED
    made["lossless, 16 bits"] = lossless(deep.astype(np.uint16) * 16, depth=16), REFUSED
    made["lossless, cut and ended"] = lossless(grey)[:-300] + EOI, REFUSED
    made["lossless, predictor 8"] = edited(lossless(grey), _SOS, placed(3, b"\x08")), REFUSED
    made["lossless with arithmetic codes"] = lossless(grey, frame=0xCB), REFUSED
    return made


def _tables() -> dict[str, tuple[bytes, Any]]:
    segments = split(PLAIN)[0]
    codes = [segment(_DHT, content) for marker, content in segments if marker == _DHT]
    steps = [segment(_DQT, content) for marker, content in segments if marker == _DQT]
    wide = b"".join(
        bytes([0x10 | content[0]]) + b"".join(bytes([0, step]) for step in content[1:65])
        for marker, content in segments
        if marker == _DQT
    )
    scan = split(PLAIN)[1]
    deep = [(marker, content) for marker, content in segments if marker != _DQT]
    bad_codes = segment(_DHT, b"\0" + b"\xff" * 16 + bytes(255))
    return {
        "no codes, for they are the usual ones": (edited(PLAIN, _DHT, lambda content: None), _SAME),
        "codes twice": (before(PLAIN, _SOS, b"".join(codes)), _SAME),
        "wrong codes first": (before(PLAIN, _DHT, segment(_DHT, b"\0\1" + bytes(15) + b"\5")), _SAME),
        "codes that overflow": (before(PLAIN, _SOS, bad_codes), REFUSED),
        "codes in table 4": (before(PLAIN, _SOS, segment(_DHT, b"\4\1" + bytes(15) + b"\5")), REFUSED),
        "codes cut short": (before(PLAIN, _SOS, segment(_DHT, b"\0\1\1")), REFUSED),
        "codes too many for their lengths": (
            before(PLAIN, _SOS, segment(_DHT, b"\0\3" + bytes(15) + b"\1\2\3")),
            REFUSED,
        ),
        "empty table of codes": (before(PLAIN, _SOS, segment(_DHT, b"")), _SAME),
        "no steps": (edited(PLAIN, _DQT, lambda content: None), REFUSED),
        "steps twice": (before(PLAIN, _SOS, b"".join(steps)), _SAME),
        "other steps first": (before(PLAIN, _DQT, segment(_DQT, b"\0" + bytes([99] * 64))), _SAME),
        "steps of 16 bits": (joined([(_DQT, wide), *deep], scan), (SHOWN, 1.5)),
        "steps cut short": (before(PLAIN, _SOS, segment(_DQT, b"\0" + bytes([9] * 30))), REFUSED),
        "steps in table 7": (before(PLAIN, _SOS, segment(_DQT, b"\7" + bytes([9] * 64))), REFUSED),
        "an arithmetic table nobody uses": (before(PLAIN, _SOS, segment(0xCC, b"\0\x10")), _SAME),
        "a bad arithmetic table": (before(PLAIN, _SOS, segment(0xCC, b"\xff\xff")), (SHOWN, REFUSED)),
    }


def _scans() -> dict[str, tuple[bytes, Any]]:
    segments, scan = split(PLAIN)
    head, codes = segments[-1][1], scan[:-2]
    grey_segments, grey_scan = split(encoded(PICTURE.convert("L"), "JPEG", quality=90))
    three_parts = [(_SOF, PHOTO_FRAME) if marker == _SOF else (marker, content) for marker, content in grey_segments]
    first_scan = PROGRESSIVE.index(b"\xff\xda", PROGRESSIVE.index(b"\xff\xda") + 2)
    return {
        "no scan": (joined(segments[:-1], EOI), REFUSED),
        "a scan without codes": (joined(segments, EOI), REFUSED),
        "a scan of no component": (edited(PLAIN, _SOS, lambda content: b"\0\0\x3f\0"), REFUSED),
        "a scan of five components": (edited(PLAIN, _SOS, placed(0, b"\5")), REFUSED),
        "a scan of a foreign component": (edited(PLAIN, _SOS, placed(1, b"\x63")), REFUSED),
        "a scan with table 3": (edited(PLAIN, _SOS, placed(2, b"\x33")), REFUSED),
        "a component twice in a scan": (edited(PLAIN, _SOS, placed(3, head[1:2])), REFUSED),
        "scan before the frame": (joined([segments[-1], *segments[:-1]], scan), REFUSED),
        "colours never come": (joined(three_parts, grey_scan), REFUSED),
        "ended in the middle": (joined(segments, codes[: len(codes) // 2] + EOI), REFUSED),
        "ended before the last line": (joined(segments, codes[: len(codes) * 97 // 100] + EOI), REFUSED),
        "ended in the middle, junk behind": (joined(segments, codes[: len(codes) // 2] + EOI + b"junk" * 999), REFUSED),
        "ended in the middle, another behind": (joined(segments, codes[: len(codes) // 2] + EOI + PLAIN), REFUSED),
        "progressive, ended in its first scan": (PROGRESSIVE[: first_scan // 2] + EOI, REFUSED),
        "fill bytes before the end": (PLAIN[:-2] + b"\xff" * 400 + EOI, _SAME),
        "zeros before the end": (PLAIN[:-2] + bytes(400) + EOI, _SAME),
        "junk before the end": (PLAIN[:-2] + b"junk" * 99 + EOI, _SAME),
        "another scan of all behind": (PLAIN[:-2] + segment(_SOS, head) + codes + EOI, (SHOWN, 1.5, REFUSED)),
        "grey to its last pixel": (encoded(np.full((40, 40, 3), 128, np.uint8), "JPEG"), np.full((40, 40, 3), 128)),
        "grey to its last pixel, junk behind": (
            encoded(np.full((40, 40, 3), 128, np.uint8), "JPEG") + b"junk" * 99 + EOI,
            np.full((40, 40, 3), 128),
        ),
        "grey to its last pixel, progressive": (
            encoded(np.full((40, 40, 3), 128, np.uint8), "JPEG", progressive=True),
            np.full((40, 40, 3), 128),
        ),
        "grey to its last pixel, a restart behind each block": (
            encoded(np.full((40, 40, 3), 128, np.uint8), "JPEG", restart_marker_blocks=1),
            np.full((40, 40, 3), 128),
        ),
        "grey to its last pixel, but not before": (
            encoded(_grey_corner(), "JPEG", quality=95, subsampling=0),
            (_grey_corner(), 2.0),
        ),
        "by its three primaries": (RED_GREEN_BLUE, (other_decoder(RED_GREEN_BLUE), 1.5)),
    }


def _grey_corner() -> Pixels:
    return np.where(np.add.outer(np.arange(90), np.arange(120))[..., None] < 170, PHOTO, np.uint8(128))


PHOTO_FRAME = next(content for marker, content in split(PLAIN)[0] if marker == _SOF)


def _restarts() -> dict[str, tuple[bytes, Any]]:
    whole = (other_decoder(RESTARTS), 1.5)
    scan = RESTARTS.index(b"\xff\xda")
    head, codes = RESTARTS[:scan], RESTARTS[scan:]
    third = codes.index(b"\xff\xd2")
    return {
        "an interval, and no restarts": (before(PLAIN, _SOS, segment(_DRI, b"\0\4")), REFUSED),
        "restarts, and no interval": (edited(RESTARTS, _DRI, lambda content: None), REFUSED),
        "a longer interval than its restarts": (edited(RESTARTS, _DRI, lambda content: b"\0\6"), REFUSED),
        "a shorter interval than its restarts": (edited(RESTARTS, _DRI, lambda content: b"\0\2"), REFUSED),
        "an interval of three bytes": (edited(RESTARTS, _DRI, lambda content: content + b"\0"), REFUSED),
        "an interval of 0 first": (behind_soi(RESTARTS, segment(_DRI, b"\0\0")), whole),
        "fill bytes before a restart": (head + codes[:third] + b"\xff" * 9 + codes[third:], whole),
        "a restart with another number": (head + codes[:third] + b"\xff\xd5" + codes[third + 2 :], None),
        "a restart lost": (head + codes[:third] + codes[third + 2 :], None),
        "ended at a restart": (head + codes[:third] + EOI, REFUSED),
    }
