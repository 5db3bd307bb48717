"""What Pillow does not see in JPEG, PNG and WebP files: pixels that are missing; and what it refuses without need."""

import re
import struct
import zlib
from collections.abc import Iterator

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
    """Returns whether the one scan of a JPEG has fewer restarts than its size asks for, or more.

    A decoder that looks for a restart in vain reads no code from there on, and puts grey.
    """
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
    """Yields the name of each chunk of a PNG, and the chunk, which may be all of the file."""
    offset, view = 8, memoryview(data)
    while offset < len(data):
        length, name = struct.unpack(">I4s", data[offset : offset + 8].ljust(8, b"\0"))
        yield name, view[offset : offset + 12 + length]
        offset += 12 + length
