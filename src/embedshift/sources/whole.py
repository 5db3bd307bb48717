"""Prepares WebP and PNG files for Pillow, which decodes a WebP whose end is zeros, and refuses long texts in a PNG."""

import struct

# Number of final zeros from which a WebP is checked; a writer may leave a few after its codes.
_TAIL = 32
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


def shorter_webp(data: bytes) -> bytes | None:
    """Returns a still WebP without the last bytes of its data if these are zeros, as after a broken download."""
    if data[:4] + data[8:12] != b"RIFFWEBP":
        return None
    at = 12
    while at < len(data):
        name, length = struct.unpack("<4sI", data[at : at + 8].ljust(8, b"\0"))
        content = data[at + 8 : at + 8 + length]
        if name in (b"VP8 ", b"VP8L"):
            less = content[: -_TAIL // 2]
            head = b"RIFF" + struct.pack("<I", len(less) + 12) + b"WEBP" + name + struct.pack("<I", len(less))
            return head + less if content[-_TAIL:] == bytes(_TAIL) else None
        at += 8 + length + length % 2
    return None


def without_texts(data: bytes) -> bytes:
    """Returns a PNG without its texts, which are not pixels; Pillow refuses texts of more than a megabyte."""
    kept, at = [data[:8]], 8
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8].ljust(8, b"\0"))
        end = at + 12 + length
        if name not in _TEXTS:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)
