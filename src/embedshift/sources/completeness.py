"""What Pillow does not see in TIFF, JPEG, PNG and WebP files: missing pixels; and what it refuses without need."""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import ImagePalette, TiffImagePlugin

from embedshift.errors import EmbedshiftError

# Numbers of tags, of signed samples, of a picture whose 0 is white, and of colours that are stored apart.
DEPTH, COLOURS, STRIPS, SAMPLES, STRIP_BYTES, PLANES, TABLE, TILE_BYTES, FORMATS = (
    258, 262, 273, 277, 279, 284, 320, 325, 339,
)  # fmt: skip
SIGNED, WHITE_IS_0, APART = 2, 0, 2


def check(image: TiffImagePlugin.TiffImageFile, data: bytes) -> None:
    """Refuses a picture with holes before it is loaded, for Pillow leaves them black; repairs a table of 8 bits."""
    tags, pixels = image.tag_v2, image.width * image.height
    if is_fax(image):
        strips = zip(_numbers(tags.get(STRIPS)), _numbers(tags.get(STRIP_BYTES)), strict=False)
        if any(
            data[max(0, start + size - 8) : start + size] == bytes(8) for start, size in strips
        ):  # a code has fewer zeros
            raise EmbedshiftError("the image is damaged or ends early (a fax whose end is zeros)")
    elif COLOURS not in tags:  # Pillow takes 0 for white, and other readers for black
        raise EmbedshiftError("the image is damaged or ends early (a TIFF that does not say what is black)")
    if image.tile and image.tile[0][0] == "raw":
        samples = _first(tags.get(SAMPLES), 1)
        boxes = (tile[1] or (0, 0, 0, 0) for tile in image.tile)
        covered = sum((right - left) * max(0, low - high) for left, high, right, low in boxes)
        if covered != pixels * (samples if tags.get(PLANES) == APART else 1):
            raise EmbedshiftError("the image is damaged or ends early (its strips or tiles do not cover it)")
        depths = _numbers(tags.get(DEPTH)) or (1,)
        bits = sum(depths) if len(depths) > 1 else depths[0] * samples
        sizes = _numbers(tags.get(STRIP_BYTES) or tags.get(TILE_BYTES))
        # The size of a single strip is often wrong, and not needed.
        if len(sizes) > 1 and 0 < sum(sizes) < pixels * bits // 8:
            raise EmbedshiftError("the image is damaged or ends early (its strips or tiles have too few bytes)")
    if image.mode == "P":
        table = _numbers(tags.get(TABLE))
        if len(table) != 3 << _first(tags.get(DEPTH), 1):
            raise EmbedshiftError("the image is damaged or ends early (its table of colours has another length)")
        if max(table) < 256:  # as some programs write them: Pillow would make all of them black
            image.palette = ImagePalette.raw("RGB;L", bytes(table))


def size(image: TiffImagePlugin.TiffImageFile) -> tuple[int, int]:
    return image.tag_v2[256], image.tag_v2[257]


def is_fax(image: TiffImagePlugin.TiffImageFile) -> bool:
    return image.info.get("compression") in ("group3", "group4", "tiff_ccitt", "tiff_raw_16")


def is_for_opencv(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Returns whether Pillow shows what its memory happens to hold where codes are damaged; OpenCV puts zeros there."""
    return is_fax(image) or (image.info.get("compression") == "jpeg" and image.mode in ("L", "RGB", "CMYK"))


def depth(image: TiffImagePlugin.TiffImageFile) -> int:
    """Returns the bits of a channel with more than 8, below 0 if 0 is white; refuses pixels without a fixed range."""
    tags = image.tag_v2
    depths, samples = (_numbers(tags.get(tag)) for tag in (DEPTH, FORMATS))
    if SIGNED in samples:
        raise EmbedshiftError("signed pixels have no fixed range; convert the image to 8 or 16 bits without sign")
    if max(depths, default=8) > 16 and image.mode != "F":
        raise EmbedshiftError("the image has more than 16 bits per channel; convert it to 8 or 16 bits")
    return (-1 if tags.get(COLOURS) == WHITE_IS_0 else 1) * max(depths, default=16)


def unread(data: bytes) -> str:
    """Says how deep a TIFF is whose depth no decoder reads; "" for anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = io.BytesIO(data)
            tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
            file.seek(tags.next)
            tags.load(file)
        (bits,) = {*_numbers(tags.get(DEPTH))}
    except Exception:  # no TIFF, or a damaged one
        return ""
    return f"a TIFF of {bits} bits per channel is not read; convert it to 8 or 16 bits" if bits not in (8, 16) else ""


def _numbers(value: Any) -> tuple[int, ...]:
    """Returns the numbers of a tag, which may hold one, several or anything."""
    values = value if isinstance(value, tuple) else (value,)
    return tuple(number for number in values if isinstance(number, int))


def _first(value: Any, otherwise: int) -> int:
    return next(iter(_numbers(value)), otherwise)


# Number of final zeros from which a WebP is checked; a writer may leave a few after its codes.
_TAIL = 32
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# Flags in the header of a WebP.
_MOVES, _ALPHA = 0x02, 0x10
# Samples of a pixel by a PNG's colour type; first column and row of each pass of an interlaced one, and its steps.
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_AT_ONCE = ((0, 0, 1, 1),)
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
# Bytes of a chunk that are inflated at once: what waits is copied each time.
_PIECE = 2**14
# A marker of a JPEG that is neither a stuffed byte nor a restart.
_MARKER = re.compile(rb"\xff+([^\0\xff\xd0-\xd7])")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_SCAN, _END, _INTERVAL, LOSSLESS = 0xDA, 0xD9, 0xDD, 0xC3
_SEQUENTIAL, _FRAMES = (0xC0, 0xC1), frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Codes for a decoder that waits for some: without a marker, and unlike each other.
_CODES = bytes(range(7, 247, 5)) * 4


def jpeg_scans(data: bytes) -> tuple[int, bool]:
    """Returns the kind of a JPEG's frame, and whether each of its colours has a scan; decoders put grey otherwise."""
    frame, colours = 0, frozenset[int]()
    for marker, content, _ in _segments(data):
        if marker in _FRAMES:
            frame, colours = marker, frozenset(content[6::3])
        elif marker == _SCAN:
            colours -= frozenset(content[1:-3:2])
            if not colours:
                return frame, True
    return frame, False


def with_more_codes(data: bytes) -> bytes:
    """Returns a JPEG with codes added at its end: it shows the same if it is whole, and else the codes, not grey."""
    end = next((at for marker, _, at in _segments(data) if marker == _END), len(data))
    return data[:end] + _CODES + b"\xff\xd9"


def lacks_restarts(data: bytes) -> bool:
    """Whether the scan of a JPEG has too few restarts or too many; a decoder that looks in vain for one puts grey."""
    interval, blocks, scan = 0, 0, 0
    for marker, content, at in _segments(data):
        if marker == _INTERVAL:
            interval = int.from_bytes(content[:2], "big")
        elif marker in _SEQUENTIAL:
            blocks = _blocks(content)
        elif marker == _SCAN and scan:
            return False
        elif marker == _SCAN:
            scan = at
        elif marker == _END and blocks:
            return len(_RESTART.findall(data, scan, at)) != (-(-blocks // interval) - 1 if interval else 0)
    return False


def _blocks(frame: bytes) -> int:
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    factors = frame[7::3] if frame[5] > 1 else b"\x11"
    across, down = max(factor >> 4 for factor in factors), max(factor & 15 for factor in factors)
    return -(-width // (8 * across)) * -(-height // (8 * down))


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yields the marker and the content of each segment, and the place behind it; of the end, its own place."""
    at = 2
    while found := _MARKER.search(data, at):
        if found[1][0] == _END:
            yield _END, b"", found.start()
            return
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
        yield found[1][0], data[found.end() + 2 : at], at


def shorter_webp(data: bytes) -> bytes | None:
    """Returns a still WebP without the last bytes of its data if these are zeros, as after a broken download."""
    if data[:4] + data[8:12] != b"RIFFWEBP":
        return None
    offset = 12
    while offset < len(data):
        name, length = struct.unpack("<4sI", data[offset : offset + 8].ljust(8, b"\0"))
        content = data[offset + 8 : offset + 8 + length]
        if name in (b"VP8 ", b"VP8L"):
            shortened = content[: -_TAIL // 2]
            head = b"RIFF" + struct.pack("<I", len(shortened) + 12) + b"WEBP" + name + struct.pack("<I", len(shortened))
            return head + shortened if content[-_TAIL:] == bytes(_TAIL) else None
        offset += 8 + length + length % 2
    return None


def moves(data: bytes) -> bool:
    return data[:4] + data[8:16] == b"RIFFWEBPVP8X" and bool(data[20] & _MOVES)


def with_alpha(data: bytes) -> bytes:
    """Returns a moving WebP that says it has alpha: where no frame is, its canvas is clear, and not black."""
    return data[:20] + bytes([data[20] | _ALPHA]) + data[21:] if moves(data) else data


def without_texts(data: bytes) -> bytes:
    """Returns a PNG without its texts, which are not pixels; Pillow refuses texts of more than a megabyte."""
    return data[:8] + b"".join(whole for name, whole in _chunks(data) if name not in _TEXTS)


def lacks_lines(data: bytes) -> bool:
    """Returns whether the codes of a PNG end before its pixels do; Pillow leaves the rest black."""
    needed, inflating = 0, zlib.decompressobj()
    for name, whole in _chunks(data):
        if name == b"IHDR":
            needed = _bytes_of_lines(*struct.unpack(">IIBB2xB", whole[8:21]))
        elif name == b"IDAT":
            for start in range(8, len(whole) - 4, _PIECE):
                codes, lines = bytes(whole[start : min(start + _PIECE, len(whole) - 4)]), b"first"
                while needed > 0 and (codes or lines):
                    lines = inflating.decompress(codes, 2**20)
                    needed, codes = needed - len(lines), inflating.unconsumed_tail
    return needed > 0


def _bytes_of_lines(width: int, height: int, depth: int, colour: int, interlaced: int) -> int:
    total = 0
    for left, top, across, down in _PASSES if interlaced else _AT_ONCE:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * depth * _SAMPLES[colour] // 8))
    return total


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    offset, view = 8, memoryview(data)
    while offset < len(data):
        length, name = struct.unpack(">I4s", data[offset : offset + 8].ljust(8, b"\0"))
        yield name, view[offset : offset + 12 + length]
        offset += 12 + length
