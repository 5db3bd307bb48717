"""What the bytes of a picture promise of its end, where decoders would fill the rest with grey and say nothing."""

import re
import struct

from embedshift.errors import EmbedshiftError

# In a JPEG a marker is 0xff and a byte that is neither a fill byte, nor stuffing, nor a restart within a scan.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_START_OF_SCAN, _END, _FRAMES = 0xDA, 0xD9, {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# Sequential frames with Huffman codes; and besides these, frames whose scans say which coefficients they bring.
_SEQUENTIAL, _COUNTED = {0xC0, 0xC1}, {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
# Far more than writers make (ICC profiles of 16 MB, scans of every bit), and few enough to be read at once.
_MOST_SEGMENTS, _MOST_FILL = 2_000, 1_024
# Ones, of which no code consists: as many as a decoder looks ahead.
_PADDING = b"\xff\x00" * 8
# Zeros at the end of a WebP that are looked into; a writer may leave a few behind its codes.
_TAIL = 32
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


def whole_jpeg(data: bytes) -> bytes:
    """A JPEG for a decoder that is to fail when its scan ends before the picture does.

    A decoder fills up what is missing before the end marker. One that has no end marker waits for more bytes until
    the last block is there: so the marker is left out where the picture has one scan, which is most of them.

    Args:
        data: Begins as a JPEG does.

    Raises:
        EmbedshiftError: when it has no end marker, or its scans do not bring all of its coefficients.
    """
    frame, scans, end = 0, 0, -1
    missing: dict[int, list[int]] = {}
    at = 2
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None or found.start() - at > _MOST_FILL and not scans:
            break
        marker, at = found[1][0], found.end()
        if marker == _END:
            end = found.start()
            break
        segment = data[at + 2 : at + (length := int.from_bytes(data[at : at + 2], "big"))]
        at += length
        if marker in _FRAMES:
            frame = marker
            missing = {component: [1] * 64 for component in segment[6::3]}
        elif marker == _START_OF_SCAN:
            scans += 1
            _bring(missing, segment)
    if end < 0:
        raise EmbedshiftError("the picture is damaged or ends early (a JPEG without its end)")
    if frame in _COUNTED and any(map(any, missing.values())):
        raise EmbedshiftError("the picture is damaged or ends early (a JPEG without some of its scans)")
    return data[:end] + _PADDING if scans == 1 and frame in _SEQUENTIAL else data


def _bring(missing: dict[int, list[int]], header: bytes) -> None:
    """Notes the bits of coefficients that are still to come after a scan."""
    count = header[0] if header else 0
    if len(header) != 4 + 2 * count:
        return
    first, last, bits = header[-3:]
    for component in header[1:-3:2]:
        if component in missing:
            missing[component][first : last + 1] = [bits & 15] * (min(last, 63) + 1 - first)


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
