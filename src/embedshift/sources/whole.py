"""What a WebP and a PNG need before they are decoded, or besides."""

import struct

# Zeros at the end of a WebP that are looked into; a writer may leave a few behind its codes.
_TAIL = 32
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


def shorter_webp(data: bytes) -> bytes | None:
    """A still WebP without the last bytes of its data, where these are zeros, as a broken download leaves them.

    Codes may be zeros in a whole picture too, half of the file where much is of one colour. But a decoder then reads to
    the end: one that succeeds on less has filled a picture from zeros that do not belong to it.

    Args:
        data: Any file.

    Returns:
        None where it is something else, or does not end in zeros.
    """
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
    """A PNG without its texts, which are no part of its pixels; Pillow refuses those of more than a megabyte.

    Args:
        data: Begins as a PNG does.

    Example:
        >>> ihdr, text = struct.pack(">I4sB4x", 1, b"IHDR", 0), struct.pack(">I4s2s4x", 2, b"tEXt", b"ab")
        >>> without_texts(bytes(8) + text + ihdr) == bytes(8) + ihdr
        True
    """
    kept, at = [data[:8]], 8
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8].ljust(8, b"\0"))
        end = at + 12 + length
        if name not in _TEXTS:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)
