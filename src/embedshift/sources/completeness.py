"""Prepares WebP and PNG files for Pillow, which decodes a WebP whose end is zeros, and refuses long texts in a PNG."""

import struct

# Number of final zeros from which a WebP is checked; a writer may leave a few after its codes.
_TAIL = 32
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
