"""PNGs whose chunks are wrong or odd, and whose pixels are whole."""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from embedshift.arrays import Pixels
from support.hostile import Kind
from support.hostile.encodings import PHOTO, PICTURE, chunk, encoded, png_of
from support.malformed import REFUSED, rows

PART = np.ascontiguousarray(PHOTO[:48, :64])
WHOLE = png_of(PART, 2)
_START, _HEAD = WHOLE[:8], WHOLE[8:33]
_IDAT, _END = WHOLE[33:-12], WHOLE[-12:]
_CODES = _IDAT[8:-4]
_EITHER = (PART, REFUSED)


def kinds() -> Iterator[Kind]:
    """All of them."""
    for table in (_checksums(), _headers(), _order(), _extras(), _moving()):
        yield from rows("png", ".png", table)


def header(width: int, height: int, depth: int, colour: int, *rest: int) -> bytes:
    """The first chunk; compression, filter and interlacing are 0 where nothing else is said."""
    return chunk(b"IHDR", struct.pack(">IIBB", width, height, depth, colour) + bytes(rest or (0, 0, 0)))


def built(*parts: bytes) -> bytes:
    """A PNG of chunks."""
    return _START + b"".join(parts) + _END


def _with(*extra: bytes) -> bytes:
    return built(_HEAD, *extra, _IDAT)


def _checksums() -> dict[str, tuple[bytes, Any]]:
    contents = {
        b"gAMA": struct.pack(">I", 45_455),
        b"cHRM": bytes(32),
        b"sRGB": b"\0",
        b"sBIT": b"\5\6\5",
        b"bKGD": bytes(6),
        b"pHYs": struct.pack(">IIB", 2835, 2835, 1),
        b"tIME": bytes(7),
        b"tEXt": b"Comment\0hi",
        b"zTXt": b"Comment\0\0" + zlib.compress(b"hi"),
        b"iTXt": b"Comment\0\0\0\0\0hi",
        b"eXIf": b"II*\0\x08\0\0\0\0\0\0\0\0\0",
        b"iCCP": b"x\0\0" + zlib.compress(b"no profile"),
        b"acTL": struct.pack(">II", 2, 0),
        b"cICP": b"\x09\x10\0\1",
        b"hIST": bytes(4),
        b"sPLT": b"x\0\x08" + bytes(6),
        b"vpAg": bytes(9),
    }
    made: dict[str, tuple[bytes, Any]] = {}
    for name, content in contents.items():
        good = chunk(name, content)
        made[f"checksum of {name.decode()}"] = _with(good[:-1] + bytes([good[-1] ^ 1])), _EITHER
        made[f"whole {name.decode()}"] = _with(good), PART
    made["checksum of IEND"] = WHOLE[:-1] + b"\0", _EITHER
    return made


def _headers() -> dict[str, tuple[bytes, Any]]:
    height, width = PART.shape[:2]

    def headed(*fields: int) -> bytes:
        return built(header(*fields), _IDAT)

    depths = {
        f"depth {depth}, colour type {colour}": (headed(width, height, depth, colour), REFUSED)
        for depth, colour in ((0, 2), (3, 0), (16, 3), (4, 2), (32, 2), (8, 1), (8, 5), (8, 7), (1, 4), (2, 6))
    }
    return depths | {
        "no height": (headed(width, 0, 8, 2), REFUSED),
        "width 2^31": (headed(2**31, 1, 8, 2), REFUSED),
        "width 2^31 - 1, one line": (headed(2**31 - 1, 1, 1, 0), REFUSED),
        "compression 1": (headed(width, height, 8, 2, 1, 0, 0), _EITHER),
        "filter method 1": (headed(width, height, 8, 2, 0, 1, 0), REFUSED),
        "filter method of MNG": (headed(width, height, 8, 2, 0, 64, 0), REFUSED),
        "interlacing 2": (headed(width, height, 8, 2, 0, 0, 2), REFUSED),
        "header of 12 bytes": (built(chunk(b"IHDR", _HEAD[8:20]), _IDAT), REFUSED),
        "header of 14 bytes": (built(chunk(b"IHDR", _HEAD[8:21] + b"\0"), _IDAT), _EITHER),
        "header twice": (built(_HEAD, _HEAD, _IDAT), _EITHER),
        "another header behind": (built(_HEAD, header(9, 9, 8, 2), _IDAT), REFUSED),
        "another header behind the pixels": (built(_HEAD, _IDAT, header(9, 9, 8, 2)), _EITHER),
        "no header": (built(_IDAT), REFUSED),
        "header second": (built(chunk(b"gAMA", struct.pack(">I", 45_455)), _HEAD, _IDAT), _EITHER),
        "signature with other line ends": (WHOLE[:4] + b"\n\x1a\n" + WHOLE[8:], REFUSED),
        "signature of MNG": (b"\x8aMNG" + WHOLE[4:], REFUSED),
        "Apple's own": (built(chunk(b"CgBI", b"P\0 \2"), _HEAD, chunk(b"IDAT", _CODES[2:-4])), REFUSED),
    }


def _order() -> dict[str, tuple[bytes, Any]]:
    middle = len(_CODES) // 2
    first, second = chunk(b"IDAT", _CODES[:middle]), chunk(b"IDAT", _CODES[middle:])
    empty = chunk(b"IDAT", b"")
    return {
        "pixels split at every byte": (built(_HEAD, *[chunk(b"IDAT", bytes([byte])) for byte in _CODES]), PART),
        "empty pixels between": (built(_HEAD, empty, first, empty, empty, second, empty), PART),
        "pixels out of order": (built(_HEAD, second, first), REFUSED),
        "a text between pixels": (built(_HEAD, first, chunk(b"tEXt", b"a\0b"), second), _EITHER),
        "pixels behind the end": (built(_HEAD, first) + second + _END, REFUSED),
        "the first part of pixels alone": (built(_HEAD, first), REFUSED),
        "pixels twice": (built(_HEAD, _IDAT, _IDAT), _EITHER),
        "no pixels at all": (built(_HEAD), REFUSED),
        "empty pixels alone": (built(_HEAD, empty), REFUSED),
        "an end first": (_START + _HEAD + _END + _IDAT + _END, REFUSED),
        "an end with bytes": (WHOLE[:-12] + chunk(b"IEND", b"more"), _EITHER),
        "a length of 2^31": (built(_HEAD, b"\x80\0\0\0tEXt", _IDAT), REFUSED),
        "a length beyond the end": (built(_HEAD, b"\0\xff\xff\xfftEXt", _IDAT), REFUSED),
        "a name of no letters": (built(_HEAD, chunk(b"\0\1\2\3", b""), _IDAT), _EITHER),
        "a chunk that must be known": (built(_HEAD, chunk(b"ABCD", b"?"), _IDAT), _EITHER),
        "a chunk that need not be known": (built(_HEAD, chunk(b"abCd", b"?"), _IDAT), PART),
        "10000 chunks": (built(_HEAD, *[chunk(b"abCd", b"")] * 10_000, _IDAT), PART),
    }


def _extras() -> dict[str, tuple[bytes, Any]]:
    contents: dict[str, tuple[bytes, bytes]] = {
        "gamma of no bytes": (b"gAMA", b""),
        "gamma 0": (b"gAMA", bytes(4)),
        "gamma 2^32 - 1": (b"gAMA", b"\xff" * 4),
        "colours cut": (b"cHRM", bytes(31)),
        "sRGB 255": (b"sRGB", b"\xff"),
        "sRGB of no bytes": (b"sRGB", b""),
        "more bits than there are": (b"sBIT", b"\xff\xff\xff"),
        "no bits": (b"sBIT", b""),
        "profile without a name": (b"iCCP", zlib.compress(b"x")),
        "profile cut": (b"iCCP", b"x\0\0x\x9c"),
        "profile of a wrong compression": (b"iCCP", b"x\0\7abc"),
        "profile of no bytes": (b"iCCP", b""),
        "colours of a television": (b"cICP", b"\x09\x10\x09\0"),
        "cICP of no bytes": (b"cICP", b""),
        "text without a name": (b"tEXt", b"\0words"),
        "text of no bytes": (b"tEXt", b""),
        "zTXt of a wrong compression": (b"zTXt", b"a\0\7abc"),
        "zTXt cut": (b"zTXt", b"a\0\0x\x9c"),
        "zTXt without its zero": (b"zTXt", b"abc"),
        "iTXt cut": (b"iTXt", b"a\0\1"),
        "iTXt that is no UTF-8": (b"iTXt", b"a\0\0\0\0\0\xff\xfe"),
        "iTXt of a bad stream": (b"iTXt", b"a\0\1\0\0\0abc"),
        "pHYs cut": (b"pHYs", b"\0"),
        "tIME of month 99": (b"tIME", b"\0\0\x63\x63\x63\x63\x63"),
        "palette in a picture of colours": (b"PLTE", bytes(30)),
        "palette of 257": (b"PLTE", bytes(771)),
        "palette of 4 bytes": (b"PLTE", bytes(4)),
        "EXIF of itself": (b"eXIf", b"II*\0\x08\0\0\0\0\0\x08\0\0\0"),
        "EXIF of no bytes": (b"eXIf", b""),
        "offset cut": (b"oFFs", b"\0"),
        "background cut": (b"bKGD", b""),
    }
    made: dict[str, tuple[bytes, Any]] = {name: (_with(chunk(*each)), _EITHER) for name, each in contents.items()}
    bomb = b"Comment\0\0\1\0\0"[:8] + b"\1\0\0\0" + zlib.compress(bytes(60_000_000), 9)
    made["iTXt of 60 MB"] = _with(chunk(b"iTXt", bomb)), _EITHER
    return made


def _moving() -> dict[str, tuple[bytes, Any]]:
    height, width = PART.shape[:2]

    def control(number: int, *box: int, ways: bytes = b"\0\0") -> bytes:
        return chunk(b"fcTL", struct.pack(">IIIIIHH", number, *box, 1, 10) + ways)

    def count(frames: int) -> bytes:
        return chunk(b"acTL", struct.pack(">II", frames, 0))

    black: Pixels = np.zeros_like(PART)
    other = struct.pack(">I", 2) + png_of(black, 2)[41:-16]
    full = control(0, width, height, 0, 0)
    second = control(1, width, height, 0, 0), chunk(b"fdAT", other)
    tables: dict[str, list[bytes]] = {
        "two frames": [count(2), full, _IDAT, *second],
        "no frame": [count(0), _IDAT],
        "2^32 - 1 frames": [count(2**32 - 1), full, _IDAT],
        "frames fewer than they are": [count(1), full, _IDAT, *second],
        "a first frame out of number": [count(2), control(7, width, height, 0, 0), _IDAT, *second],
        "a first frame beyond the picture": [count(2), control(0, width, height, 5, 5), _IDAT, *second],
        "a first frame of no size": [count(2), control(0, 0, 0, 0, 0), _IDAT, *second],
        "a first frame smaller than the picture": [count(2), control(0, 9, 9, 3, 3), _IDAT, *second],
        "a frame cut": [count(2), chunk(b"fcTL", b"\0" * 9), _IDAT],
        "odd ways to dispose": [count(2), control(0, width, height, 0, 0, ways=b"\x09\x09"), _IDAT, *second],
        "a count behind the pixels": [full, _IDAT, count(2), *second],
        "a count twice": [count(2), count(3), full, _IDAT, *second],
        "a count cut": [chunk(b"acTL", b"\0"), _IDAT],
        "a frame that is not of the film": [count(1), _IDAT, full, chunk(b"fdAT", bytes(4) + _CODES)],
        "a second frame before the first": [count(2), full, second[1], _IDAT],
        "a first frame before the header": [],
    }
    made: dict[str, tuple[bytes, Any]] = {
        f"film, {name}": (built(_HEAD, *parts), _EITHER) for name, parts in tables.items() if parts
    }
    turned = encoded(
        PICTURE.crop((0, 0, 64, 48)), "PNG", save_all=True, append_images=[PICTURE.crop((0, 0, 64, 48)).rotate(180)]
    )
    made["film, cut in its second frame"] = turned[: len(turned) - 300], (np.asarray(PICTURE)[:48, :64], REFUSED)
    return made
