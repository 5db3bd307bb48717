"""Decodes a JPEG completely or refuses it: decoders silently fill missing parts with grey."""

import re
from dataclasses import dataclass

from PIL import Image, ImageFile

from embedshift.errors import EmbedshiftError

# In a JPEG a marker is 0xff and a byte that is neither a fill byte, nor stuffing, nor a restart within a scan.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_START_OF_SCAN, _END, _FRAMES = 0xDA, 0xD9, {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# Sequential frames with Huffman codes, all with Huffman codes, all whose scans say which coefficients they bring.
_SEQUENTIAL, _HUFFMAN, _COUNTED = {0xC0, 0xC1}, {0xC0, 0xC1, 0xC2}, {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
_SEQUENTIAL_OF_ANY_CODE = _SEQUENTIAL | {0xC9}
# Far more than writers make (ICC profiles of 16 MB, scans of every bit), and few enough to be read at once.
_MOST_SEGMENTS, _MOST_FILL = 2_000, 1_024
# Ones, of which no code consists: as many as a decoder looks ahead.
_PADDING = b"\xff\x00" * 8


@dataclass(frozen=True)
class JpegStructure:
    """Where a JPEG's scans end, and their number."""

    end: int
    frame: int
    scans: int


def read_structure(data: bytes) -> JpegStructure:
    """Reads the markers; raises for a JPEG without its end or without some of its scans."""
    frame, scans = 0, 0
    missing: dict[int, list[int]] = {}
    position = 2
    for _ in range(_MOST_SEGMENTS):
        match = _MARKER.search(data, position)
        if match is None or (match.start() - position > _MOST_FILL and not scans):
            break
        marker, position = match[1][0], match.end()
        if marker == _END:
            if frame in _COUNTED and any(map(any, missing.values())):
                raise EmbedshiftError("the image is damaged or ends early (a JPEG without some of its scans)")
            return JpegStructure(match.start(), frame, scans)
        length = int.from_bytes(data[position : position + 2], "big")
        segment = data[position + 2 : position + length]
        position += length
        if marker in _FRAMES:
            frame = marker
            missing = {component: [1] * 64 for component in segment[6::3]}
        elif marker == _START_OF_SCAN:
            scans += 1
            _mark_received(missing, segment, progressive=frame not in _SEQUENTIAL_OF_ANY_CODE)
    else:
        raise EmbedshiftError(f"a JPEG of more than {_MOST_SEGMENTS:,} segments: save it again")
    raise EmbedshiftError("the image is damaged or ends early (a JPEG without its end)")


def load(image: ImageFile.ImageFile, data: bytes, jpeg: JpegStructure) -> None:
    """Loads the pixels, and checks that the last scan reaches the last block."""
    if jpeg.frame not in _HUFFMAN or _is_plain(jpeg):
        image.load()
        return
    name, extents, offset, arguments = image.tile[0]
    image.load_prepare()
    decoder = Image._getdecoder(image.mode, name, arguments, image.decoderconfig)
    decoder.setimage(image.im, extents)
    try:
        rest = data[offset : jpeg.end] + _PADDING
        rest = rest[decoder.decode(rest)[0] :] + _PADDING[:2]
        if decoder.decode(rest)[0] != len(rest):
            # Bytes that are left over wait for those of the block that they belong to.
            raise EmbedshiftError("the image is damaged or ends early (a JPEG whose last scan is cut)")
        if decoder.decode(b"\xff\xd9")[0] >= 0:
            raise EmbedshiftError("the image is damaged or ends early (a JPEG whose scans cannot be read)")
    finally:
        decoder.cleanup()
    image.tile = []
    image.load_end()


def without_end(data: bytes, jpeg: JpegStructure) -> bytes:
    """Returns the bytes for Pillow: without the end marker for one scan, so that it fails on missing blocks."""
    return data[: jpeg.end] + _PADDING if _is_plain(jpeg) else data


def _is_plain(jpeg: JpegStructure) -> bool:
    """Returns whether lines can be decoded before the end is read."""
    return jpeg.scans == 1 and jpeg.frame in _SEQUENTIAL


def _mark_received(missing: dict[int, list[int]], header: bytes, *, progressive: bool) -> None:
    """Notes which coefficient bits are still missing after a scan; a sequential frame brings all."""
    count = header[0] if header else 0
    if len(header) != 4 + 2 * count:
        return
    # Decoders ignore this field of a sequential frame, and it is not always right.
    first, last, bits = header[-3:] if progressive else (0, 63, 0)
    for component in header[1:-3:2]:
        if component in missing:
            missing[component][first : last + 1] = [bits & 15] * (min(last, 63) + 1 - first)
