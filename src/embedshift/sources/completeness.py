"""Checks whether WebP and PNG files are complete, and prepares PNG files for decoding."""

import struct
import zlib
from collections.abc import Iterator

# Number of final zeros from which a WebP is checked; a writer may leave a few after its codes.
_TAIL = 32
# Where the passes of an interlaced PNG begin, and their steps, across and down.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_AT_ONCE = 2**20
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


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


def holds_all_lines(data: bytes) -> bool:
    """Returns whether a PNG's compressed data are as long as its header says; Pillow leaves missing lines black."""
    lines, inflated, decompressor = 0, 0, zlib.decompressobj()
    for name, content in _chunks(data):
        if name == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", content[:10])
            bits = depth * {2: 3, 4: 2, 6: 4}.get(colour, 1)
            passes = _ADAM7 if content[12] else ((0, 0, 1, 1),)
            sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
            lines = sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 < rows)
        elif name == b"IDAT":
            while content and inflated < lines:
                inflated += len(decompressor.decompress(content, _AT_ONCE))
                content = decompressor.unconsumed_tail
    return inflated >= lines


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset = 8
    while offset < len(data):
        length, name = struct.unpack(">I4s", data[offset : offset + 8].ljust(8, b"\0"))
        yield name, data[offset + 8 : offset + 8 + length]
        offset += 12 + length


def without_texts(data: bytes) -> bytes:
    """Returns a PNG without its texts, which are not pixels; Pillow refuses texts of more than a megabyte."""
    chunks, offset = [data[:8]], 8
    while offset < len(data):
        length, name = struct.unpack(">I4s", data[offset : offset + 8].ljust(8, b"\0"))
        end = offset + 12 + length
        if name not in _TEXTS:
            chunks.append(data[offset:end])
        offset = end
    return b"".join(chunks)
