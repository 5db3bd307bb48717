"""JPEGs whose pixels are whole, and whose markers, profiles, EXIF or second pictures are wrong or odd."""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from support.hostile import Kind
from support.hostile.encodings import PICTURE, encoded, other_decoder
from support.malformed import REFUSED, rows
from support.malformed.jpeg_parts import INK, PLAIN, RED_GREEN_BLUE, SHOWN, behind_soi, edited, placed, segment, split

_SAME, _EITHER = (SHOWN, 1.5), (SHOWN, 1.5, REFUSED)
_TURNED = (np.rot90(SHOWN, -1), 1.5)
_ORIENTATION = 0x0112


def kinds() -> Iterator[Kind]:
    """All of them."""
    for table in (_markers(), _colours(), _profiles(), _orientations(), _exif(), _several()):
        yield from rows("jpeg", ".jpg", table)


def exif(*entries: tuple[int, int, int, bytes], following: int = 0, order: str = "<") -> bytes:
    """An EXIF block of one directory: tag, type, count, and four bytes of value."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    body = b"".join(struct.pack(f"{order}HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries)
    return head + struct.pack(f"{order}H", len(entries)) + body + struct.pack(f"{order}I", following)


def _app1(block: bytes) -> bytes:
    return behind_soi(PLAIN, segment(0xE1, b"Exif\0\0" + block))


def _markers() -> dict[str, tuple[bytes, Any]]:
    return {
        "a beginning twice": (PLAIN[:2] + PLAIN, REFUSED),
        "a segment of length 0": (behind_soi(PLAIN, b"\xff\xe5\0\0"), _EITHER),
        "a segment of length 1": (behind_soi(PLAIN, b"\xff\xe5\0\1"), _EITHER),
        "a segment longer than the file": (behind_soi(PLAIN, b"\xff\xfe\xff\xff"), REFUSED),
        "a temporary marker": (behind_soi(PLAIN, b"\xff\x01"), _EITHER),
        "a reserved marker": (behind_soi(PLAIN, segment(0x02, b"what")), _EITHER),
        "a restart before the frame": (behind_soi(PLAIN, b"\xff\xd0"), _EITHER),
        "an end first": (behind_soi(PLAIN, b"\xff\xd9"), REFUSED),
        "junk between segments": (behind_soi(PLAIN, b"junk"), _EITHER),
        "stuffed bytes between segments": (behind_soi(PLAIN, b"\xff\0\xff\0"), _EITHER),
        "a comment of 65533 bytes": (behind_soi(PLAIN, segment(0xFE, bytes(65_533))), _SAME),
        "20 empty markers of every kind": (
            behind_soi(PLAIN, *[segment(0xE0 + at % 16, b"") for at in range(20)]),
            _EITHER,
        ),
        "a header of JFIF cut": (edited(PLAIN, 0xE0, lambda content: content[:7]), _EITHER),
        "no header of JFIF": (edited(PLAIN, 0xE0, lambda content: None), _SAME),
        "no dots per inch": (edited(PLAIN, 0xE0, placed(7, b"\1\0\0\0\0")), _SAME),
        "a thumbnail that lies": (edited(PLAIN, 0xE0, placed(12, b"\xff\xff")), _SAME),
        "resources of Photoshop, cut": (
            behind_soi(PLAIN, segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\xff\xff1")),
            _EITHER,
        ),
        "FlashPix, cut": (behind_soi(PLAIN, segment(0xE2, b"FPXR\0")), _SAME),
        "a signature of another kind of file behind": (PLAIN + b"\x89PNG\r\n\x1a\n" + bytes(99), _SAME),
        "65500 x 1": (encoded(np.full((1, 65_500, 3), 200, np.uint8), "JPEG"), np.full((1, 65_500, 3), 200)),
    }


def _colours() -> dict[str, tuple[bytes, Any]]:
    def adobe(transform: int) -> bytes:
        return segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))

    def like_opencv(data: bytes) -> tuple[bytes, Any]:
        return data, (other_decoder(data), 1.5)

    bare = edited(PLAIN, 0xE0, lambda content: None)
    # Whoever wrote the inks wrote them inverted, as Adobe does; the marker says so, and readers take it for granted.
    return {
        "Adobe says RGB, JFIF says not": (
            behind_soi(PLAIN[:2] + PLAIN[20:], segment(0xE0, PLAIN[6:20]), adobe(0)),
            _SAME,
        ),
        "Adobe says RGB": like_opencv(behind_soi(bare, adobe(0))),
        "Adobe says YCbCr": (behind_soi(bare, adobe(1)), _SAME),
        "Adobe says YCCK of three": (behind_soi(bare, adobe(2)), _SAME),
        "Adobe says 255": (behind_soi(bare, adobe(255)), _SAME),
        "Adobe says RGB of primaries": like_opencv(
            behind_soi(edited(RED_GREEN_BLUE, 0xEE, lambda content: None), adobe(0))
        ),
        "Adobe cut short": (behind_soi(bare, segment(0xEE, b"Adobe\0")), _EITHER),
        "inks without Adobe": like_opencv(edited(INK, 0xEE, lambda content: None)),
        "inks, Adobe says YCbCr": like_opencv(edited(INK, 0xEE, placed(11, b"\1"))),
        "inks, Adobe says 255": like_opencv(edited(INK, 0xEE, placed(11, b"\xff"))),
    }


def _profiles() -> dict[str, tuple[bytes, Any]]:
    def part(number: int, count: int, content: bytes = b"profile" * 99) -> bytes:
        return segment(0xE2, b"ICC_PROFILE\0" + bytes([number, count]) + content)

    parts: dict[str, list[bytes]] = {
        "one of two": [part(1, 2)],
        "out of order": [part(2, 2), part(1, 2)],
        "twice the same": [part(1, 2), part(1, 2)],
        "number 0 of 0": [part(0, 0)],
        "number 9 of 2": [part(9, 2), part(1, 2)],
        "of 255 parts": [part(number, 255, bytes(60_000)) for number in range(1, 256)],
        "of no bytes": [part(1, 1, b"")],
    }
    made = {f"profile {name}": (behind_soi(PLAIN, *each), _SAME) for name, each in parts.items()}
    return made | {"profile cut in its name": (behind_soi(PLAIN, segment(0xE2, b"ICC_PROFILE\0\1")), _EITHER)}


def _orientations() -> dict[str, tuple[bytes, Any]]:
    def short(*values: int) -> list[tuple[int, int, int, bytes]]:
        return [(_ORIENTATION, 3, 1, struct.pack("<H", value)) for value in values]

    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    made: dict[str, tuple[bytes, Any]] = {
        f"orientation {value}": (_app1(exif(*short(value))), _SAME) for value in (0, 9, 255, 65_535)
    }
    made |= {
        "orientation as a word": (_app1(exif((_ORIENTATION, 2, 4, b"6\0\0\0"))), _SAME),
        "orientation as a byte": (_app1(exif((_ORIENTATION, 1, 1, b"\6"))), None),
        "orientation as a long": (_app1(exif((_ORIENTATION, 4, 1, b"\6"))), _TURNED),
        "orientation twice over": (_app1(exif((_ORIENTATION, 3, 2, b"\6\0\6\0"))), _TURNED),
        "orientation as a fraction of zero": (
            _app1(exif((_ORIENTATION, 5, 1, b"\x1a")) + struct.pack("<II", 6, 0)),
            _SAME,
        ),
        "orientation of no values": (_app1(exif((_ORIENTATION, 3, 0, b"\6\0"))), _SAME),
        "orientation beyond the block": (_app1(exif((_ORIENTATION, 3, 9, b"\xff\xff\xff\x7f"))), _SAME),
        "orientation of type 99": (_app1(exif((_ORIENTATION, 99, 1, b"\6"))), _SAME),
        "orientation two times the same": (_app1(exif(*short(6, 6))), _TURNED),
        "orientation of the thumbnail alone": (_app1(exif(following=14) + exif(*short(6))[8:]), _SAME),
        "orientation big-endian": (_app1(exif((_ORIENTATION, 3, 1, b"\0\6"), order=">")), _TURNED),
        "orientation in two blocks": (
            behind_soi(PLAIN, *(segment(0xE1, b"Exif\0\0" + exif(*short(value))) for value in (6, 1))),
            _TURNED,
        ),
        "orientation in XMP alone": (behind_soi(PLAIN, segment(0xE1, xmp)), None),
        "orientation 1 in EXIF, 6 in XMP": (
            behind_soi(PLAIN, segment(0xE1, b"Exif\0\0" + exif(*short(1))), segment(0xE1, xmp)),
            _SAME,
        ),
    }
    return made


def _exif() -> dict[str, tuple[bytes, Any]]:
    turned = (_ORIENTATION, 3, 1, b"\6\0")
    own, camera, place = (struct.pack("<I", 8), 0x8769, 0x8825)
    blocks: dict[str, tuple[bytes, Any]] = {
        "followed by itself": (exif(turned, following=8), _TURNED),
        "camera's part is the whole": (exif(turned, (camera, 4, 1, own)), _TURNED),
        "place is the whole": (exif(turned, (place, 4, 1, own)), _TURNED),
        "camera's part far away": (exif(turned, (camera, 4, 1, b"\xff\xff\xff\x7f")), _TURNED),
        "camera's part as a word": (exif(turned, (camera, 2, 4, b"here")), _TURNED),
        "65535 entries": (exif(turned)[:8] + b"\xff\xff" + exif(turned)[10:], _TURNED),
        "no entries": (exif(), _SAME),
        "directory before its header": (exif(turned)[:4] + struct.pack("<I", 2) + exif(turned)[8:], _SAME),
        "directory far away": (exif(turned)[:4] + struct.pack("<I", 2**31) + exif(turned)[8:], _SAME),
        "of a BigTIFF": (b"II+\0" + exif(turned)[4:], _SAME),
        "of another order": (b"JJ*\0" + exif(turned)[4:], _SAME),
        "of four bytes": (b"II*\0", _SAME),
        "a count of 2^32 - 1": (exif(turned, (0x010E, 2, 2**32 - 1, own)), _TURNED),
        "a maker's note of many": (exif(turned, (0x927C, 7, 2**30, own)), _TURNED),
        "1000 entries of one tag": (exif(*[turned] * 1000), _TURNED),
    }
    made = {f"exif {name}": (_app1(block), expected) for name, (block, expected) in blocks.items()}
    return made | {"exif of no bytes": (behind_soi(PLAIN, segment(0xE1, b"Exif\0\0")), _SAME)}


def _several() -> dict[str, tuple[bytes, Any]]:
    two = encoded(PICTURE, "MPO", save_all=True, append_images=[PICTURE.rotate(90, expand=True)], quality=90)
    shown = (other_decoder(two), REFUSED)
    index = next(content for marker, content in split(two)[0] if marker == 0xE2 and content.startswith(b"MPF"))

    def entry(tag: int, at: int, value: bytes) -> bytes:
        found = index.index(struct.pack("<H" if index[4:6] == b"II" else ">H", tag))
        return edited(two, 0xE2, placed(found + at, value))

    return {
        "two, their number is 2^32 - 1": (entry(0xB001, 8, b"\xff" * 4), shown),
        "two, their number is 0": (entry(0xB001, 8, bytes(4)), shown),
        "two, their number is 1": (entry(0xB001, 8, b"\1\0\0\1"), shown),
        "two, their number is a word": (entry(0xB001, 2, b"\2\0"), shown),
        "two, the places cut": (edited(two, 0xE2, lambda content: content[:-12]), shown),
        "two, the places far away": (edited(two, 0xE2, lambda content: content[:-16] + b"\x7f" * 16), shown),
        "two, the index cut": (edited(two, 0xE2, lambda content: content[:12]), shown),
        "two, the second lost": (two[: len(two) - 500], shown),
        "another one behind": (PLAIN + encoded(PICTURE.resize((300, 200)), "JPEG"), _SAME),
        "its own thumbnail behind": (PLAIN + encoded(PICTURE.resize((16, 12)), "JPEG"), _SAME),
    }
