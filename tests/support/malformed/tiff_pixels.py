"""TIFFs whose codes, colours, samples or depths are wrong or odd."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from embedshift.arrays import Pixels
from support.hostile import Kind
from support.hostile.encodings import encoded, three
from support.malformed import OTHER, REFUSED, rows
from support.malformed.tiff_parts import (
    BITS,
    COLORMAP,
    COMPRESSION,
    COUNTS,
    EXTRA,
    FILL_ORDER,
    FORMAT,
    HEIGHT,
    OFFSETS,
    PART,
    PHOTOMETRIC,
    PREDICTOR,
    ROWS,
    SAMPLES,
    SHADES,
    STRIP_ROWS,
    SUBSAMPLING,
    WIDTH,
    plain,
    tags,
    tiff,
    written,
)

_SHOWN = three(SHADES)
_LZW, _JPEG, _OLD_JPEG, _DEFLATE, _PACKBITS, _FAX = 5, 7, 6, 8, 32_773, 4


def kinds() -> Iterator[Kind]:
    """All of them."""
    for table in (_codes(), _fax(), _predicted(), _colours(), _samples(), _depths()):
        yield from rows("tiff", ".tif", table)


def _strip(data: bytes) -> tuple[int, int]:
    """Where the codes of the only strip stand."""
    with Image.open(io.BytesIO(data)) as image:
        found: Any = image
        (start,), (length,) = found.tag_v2[OFFSETS], found.tag_v2[COUNTS]
    return start, length


def _codes() -> dict[str, tuple[bytes, Any]]:
    zipped = zlib.compress(SHADES.tobytes())
    half = zlib.compress(SHADES[:16].tobytes())
    bits = b"".join(bytes([WIDTH - 1]) + row.tobytes() for row in SHADES)
    two = [zlib.compress(SHADES[:16].tobytes()), zlib.compress(SHADES[16:].tobytes())]
    apart = tags() | {
        COMPRESSION: _DEFLATE,
        STRIP_ROWS: 16,
        OFFSETS: [8, 8 + len(two[0])],
        COUNTS: [len(part) for part in two],
    }
    made: dict[str, tuple[bytes, Any]] = {
        "deflate": (plain(data=zipped, changed={COMPRESSION: _DEFLATE}), _SHOWN),
        "deflate by its old name": (plain(data=zipped, changed={COMPRESSION: 32_946}), _SHOWN),
        "deflate of half the lines": (plain(data=half, changed={COMPRESSION: _DEFLATE}), REFUSED),
        "deflate of twice the lines": (
            plain(data=zlib.compress(SHADES.tobytes() * 2), changed={COMPRESSION: _DEFLATE}),
            (_SHOWN, REFUSED),
        ),
        "deflate with a wrong sum": (
            plain(data=zipped[:-1] + b"\0", changed={COMPRESSION: _DEFLATE}),
            (_SHOWN, REFUSED),
        ),
        "deflate of no bytes": (plain(data=b"", changed={COMPRESSION: _DEFLATE}), REFUSED),
        "deflate in two strips": (tiff(b"".join(two), apart), _SHOWN),
        "deflate, the second strip missing": (tiff(b"".join(two), apart | {OFFSETS: 8, COUNTS: len(two[0])}), REFUSED),
        "deflate, the second strip at 0": (tiff(b"".join(two), apart | {OFFSETS: [8, 0]}), REFUSED),
        "deflate, twice as tall": (tiff(b"".join(two), apart | {ROWS: 2 * HEIGHT}), REFUSED),
        "deflate, counts cut": (tiff(b"".join(two), apart | {COUNTS: [len(two[0]), 9]}), REFUSED),
        "packbits": (plain(data=bits, changed={COMPRESSION: _PACKBITS}), _SHOWN),
        "packbits over the end of a line": (plain(data=b"\x7f" + bits[1:], changed={COMPRESSION: _PACKBITS}), OTHER),
        "packbits, nothing but 128": (plain(data=b"\x80" * 999, changed={COMPRESSION: _PACKBITS}), REFUSED),
        "packbits, cut": (plain(data=bits[: len(bits) // 2], changed={COMPRESSION: _PACKBITS}), REFUSED),
        "packbits, a run over all": (plain(data=b"\x81\7" * 99, changed={COMPRESSION: _PACKBITS}), OTHER),
        "old JPEG": (plain(PART, {COMPRESSION: _OLD_JPEG, PHOTOMETRIC: 6}), REFUSED),
        "JPEG of noise": (plain(PART, {COMPRESSION: _JPEG, PHOTOMETRIC: 6}), REFUSED),
        "JPEG of a whole file": (
            plain(
                PART,
                {COMPRESSION: _JPEG, PHOTOMETRIC: 6, SUBSAMPLING: [1, 1]},
                encoded(PART, "JPEG", subsampling=0, quality=95),
            ),
            None,
        ),
    }
    names = {
        "lzw": "tiff_lzw",
        "deflate of the library": "tiff_adobe_deflate",
        "lzma": "lzma",
        "zstd": "zstd",
        "jpeg": "jpeg",
    }
    for name, compression in names.items():
        data = encoded(PART, "TIFF", compression=compression)
        start, length = _strip(data)
        cut = data[: start + length // 2] + bytes(length - length // 2) + data[start + length :]
        made[f"{name}, its second half zeros"] = cut, None if name in ("jpeg", "deflate of the library") else REFUSED
        made[f"{name}, nothing but ones"] = data[:start] + b"\xff" * length + data[start + length :], REFUSED
        made[f"{name}, nothing but zeros"] = data[:start] + bytes(length) + data[start + length :], REFUSED
    return made


def _fax() -> dict[str, tuple[bytes, Any]]:
    bilevel = SHADES > 127
    made: dict[str, tuple[bytes, Any]] = {}
    for name in ("group3", "group4", "tiff_ccitt"):
        data = encoded(Image.fromarray(bilevel), "TIFF", compression=name)
        start, length = _strip(data)
        shown = three(255 * bilevel)
        head, codes, tail = data[:start], data[start : start + length], data[start + length :]
        made[f"{name}"] = data, shown
        made[f"{name}, its second half zeros"] = (
            head + codes[: length // 2] + bytes(length - length // 2) + tail,
            REFUSED,
        )
        made[f"{name}, its second half ones"] = (
            head + codes[: length // 2] + b"\xff" * (length - length // 2) + tail,
            None,
        )
        made[f"{name}, twice as tall"] = _taller(data), None
    return made


def _taller(data: bytes) -> bytes:
    """A TIFF whose height is twice that of its codes."""
    at = int.from_bytes(data[4:8], "little")
    changed = bytearray(data)
    for entry in range(at + 2, at + 2 + 12 * int.from_bytes(data[at : at + 2], "little"), 12):
        tag, kind = struct.unpack("<HH", data[entry : entry + 4])
        if tag in (ROWS, STRIP_ROWS):
            changed[entry + 8 : entry + 12] = struct.pack(
                "<HH" if kind == 3 else "<I", *((2 * HEIGHT, 0) if kind == 3 else (2 * HEIGHT,))
            )
    return bytes(changed)


def _predicted() -> dict[str, tuple[bytes, Any]]:
    wide = PART.astype(int)
    steps = np.diff(wide, axis=1, prepend=0).astype(np.uint8)
    codes = zlib.compress(steps.tobytes())
    deep = (SHADES.astype(np.uint16) << 8) | 7
    deep_steps = np.diff(deep.astype(int), axis=1, prepend=0).astype(np.uint16)
    return {
        "predictor 2": (plain(PART, {COMPRESSION: _DEFLATE, PREDICTOR: 2}, codes), PART),
        "predictor 2 of 16 bits": (
            plain(deep, {COMPRESSION: _DEFLATE, PREDICTOR: 2}, zlib.compress(deep_steps.tobytes())),
            _SHOWN,
        ),
        "predictor 2 of raw pixels": (plain(PART, {PREDICTOR: 2}), PART),
        "predictor 3 of bytes": (plain(PART, {COMPRESSION: _DEFLATE, PREDICTOR: 3}, codes), REFUSED),
        "predictor 9": (plain(PART, {COMPRESSION: _DEFLATE, PREDICTOR: 9}, codes), REFUSED),
        "predictor 0": (plain(PART, {COMPRESSION: _DEFLATE, PREDICTOR: 0}, codes), REFUSED),
        "predictor 3 of floats": (
            plain(SHADES.astype(np.float32), {COMPRESSION: _DEFLATE, PREDICTOR: 3, FORMAT: 3}, codes),
            REFUSED,
        ),
    }


def _reversed(data: bytes) -> bytes:
    bits = np.unpackbits(np.frombuffer(data, np.uint8).reshape(-1, 1), axis=1)
    return np.packbits(bits[:, ::-1], axis=1).tobytes()


def _colours() -> dict[str, tuple[bytes, Any]]:
    table = np.random.default_rng(11).integers(0, 65536, (3, 256), dtype=np.uint16)
    indices = (SHADES // 16).astype(np.uint8)
    shown = (table[:, indices] >> 8).transpose(1, 2, 0)
    small = table & 255
    brightness = np.asarray(Image.fromarray(PART).convert("YCbCr"))
    inks: Any = np.random.default_rng(12).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    printed = (255 - inks[..., :3].astype(float)) * (255 - inks[..., 3:].astype(float)) / 255
    nibbles = (indices[:, ::2] << 4 | indices[:, 1::2]).tobytes()

    def indexed(colours: Any, values: Pixels = indices, **options: Any) -> bytes:
        return plain(values, {PHOTOMETRIC: 3, COLORMAP: colours}, **options)

    return {
        "palette": (indexed(table.ravel().tolist()), shown),
        "palette of 8 bits in 16": (indexed(small.ravel().tolist()), small[:, indices].transpose(1, 2, 0)),
        "palette of 4 bits": (
            plain(indices, {PHOTOMETRIC: 3, BITS: 4, COLORMAP: table[:, :16].ravel().tolist()}, nibbles),
            shown,
        ),
        "palette cut": (indexed(table.ravel().tolist()[:300]), REFUSED),
        "palette of 16 colours for 8 bits": (indexed(table[:, :16].ravel().tolist()), (shown, REFUSED)),
        "palette of no colours": (indexed((3, 0, b"")), REFUSED),
        "palette of one number": (indexed(7), REFUSED),
        "palette of 16-bit indices": (indexed(table.ravel().tolist(), indices.astype(np.uint16)), REFUSED),
        "YCbCr, not halved": (plain(brightness, {PHOTOMETRIC: 6, SUBSAMPLING: [1, 1]}), (PART, 2.0, REFUSED)),
        "YCbCr, halved": (
            plain(brightness, {PHOTOMETRIC: 6, SUBSAMPLING: [2, 2]}, brightness.tobytes()[: brightness.size // 2]),
            REFUSED,
        ),
        # Pillow 13 reads what is not halved, whatever the tag says.
        "YCbCr, by 0": (plain(brightness, {PHOTOMETRIC: 6, SUBSAMPLING: [0, 0]}), (PART, 2.0, REFUSED)),
        "YCbCr, not said how": (plain(brightness, {PHOTOMETRIC: 6}), (PART, 2.0, REFUSED)),
        "inks": (plain(inks, {PHOTOMETRIC: 5}), (printed, 1.0)),
        "inks of three": (plain(PART, {PHOTOMETRIC: 5}), REFUSED),
        "Lab": (plain(PART, {PHOTOMETRIC: 8}), OTHER),
        "Lab of ICC": (plain(PART, {PHOTOMETRIC: 9}), REFUSED),
        "white is 0": (plain(SHADES, {PHOTOMETRIC: 0}), 255 - _SHOWN),
        "white is 0, 4 bits": (
            plain(indices, {PHOTOMETRIC: 0, BITS: 4}, nibbles),
            three(255 - 17 * indices.astype(int)),
        ),
        "white is 0 in colours": (plain(PART, {PHOTOMETRIC: 0}), REFUSED),
        "4 bits, filled from the right": (
            plain(indices, {BITS: 4, FILL_ORDER: 2}, _reversed(nibbles)),
            (three(17 * indices.astype(int)), REFUSED),
        ),
    }


def _samples() -> dict[str, tuple[bytes, Any]]:
    alpha = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH, 1) % 256).astype(np.uint8)
    opacity = alpha / 255
    on_white = PART * opacity + 255 * (1 - opacity)
    ready = np.concatenate([(PART * opacity).round().astype(np.uint8), alpha], -1)
    both = np.concatenate([PART, alpha], -1)
    grey = np.concatenate([SHADES[..., None], alpha], -1)
    grey_on_white = three((SHADES * opacity[..., 0] + 255 * (1 - opacity[..., 0])).round())
    wider = np.concatenate([PART, alpha, alpha], -1)
    deep = both.astype(np.uint16) << 8 | both
    return {
        "a fourth sample that is no alpha": (plain(both, {EXTRA: 0}), PART),
        "alpha": (plain(both, {EXTRA: 2}), (on_white.round(), 1.0)),
        "alpha, colours multiplied": (plain(ready, {EXTRA: 1}), (on_white.round(), 2.0)),
        "a fourth sample of kind 99": (plain(both, {EXTRA: 99}), (PART, REFUSED)),
        "a fourth sample not named": (plain(both), None),
        "two more samples": (plain(wider, {EXTRA: [0, 0]}), PART),
        "alpha and one more": (plain(wider, {EXTRA: [2, 0]}), (on_white.round(), 1.0)),
        "two alphas": (plain(wider, {EXTRA: [2, 2]}), REFUSED),
        "more samples named than there are": (plain(PART, {EXTRA: [0, 0, 0]}), REFUSED),
        "grey with alpha": (plain(grey, {PHOTOMETRIC: 1, EXTRA: 2}), (grey_on_white, 1.0)),
        "grey with what is no alpha": (plain(grey, {PHOTOMETRIC: 1, EXTRA: 0}), (_SHOWN, REFUSED)),
        "alpha of 16 bits": (plain(deep, {EXTRA: 2}), (on_white.round(), 1.0)),
        "a fourth of 16 bits that is no alpha": (plain(deep, {EXTRA: 0}), (PART, REFUSED)),
        "alpha of 16 bits, colours multiplied": (
            plain(ready.astype(np.uint16) * 257, {EXTRA: 1}),
            (on_white.round(), 2.0, REFUSED),
        ),
        "inks of 16 bits": (plain(deep, {PHOTOMETRIC: 5}), ((255 - PART.astype(float)) * (1 - opacity), 1.0, REFUSED)),
        "colours of 16 bits": (plain(PART.astype(np.uint16) << 8 | 0x80), PART),
        "grey of 16 bits with alpha": (plain(grey.astype(np.uint16), {PHOTOMETRIC: 1, EXTRA: 2}), REFUSED),
    }


def _depths() -> dict[str, tuple[bytes, Any]]:
    deep = SHADES.astype(np.uint16) << 8 | 0x80
    return {
        "floats": (plain(SHADES.astype(np.float32), {FORMAT: 3}), "floating-point|more than 16"),
        "floats of 64 bits": (plain(SHADES.astype(np.float64), {FORMAT: 3}), REFUSED),
        "floats of 16 bits": (plain(SHADES.astype(np.float16), {FORMAT: 3}), REFUSED),
        "floats in colours": (plain(PART.astype(np.float32), {FORMAT: [3, 3, 3]}), REFUSED),
        "floats of noughts and infinities": (
            plain(np.full((9, 9), np.inf, np.float32), {FORMAT: 3}),
            "floating-point|more than 16",
        ),
        "complex": (plain(SHADES.astype(np.complex64), {FORMAT: 6}), REFUSED),
        "a format of samples not known": (plain(SHADES, {FORMAT: 99}), REFUSED),
        "a format of samples undefined": (plain(SHADES, {FORMAT: 4}), (_SHOWN, REFUSED)),
        "formats that differ": (plain(PART, {FORMAT: [1, 1, 3]}), REFUSED),
        "signed": (plain(SHADES.astype(np.int8), {FORMAT: 2}), "signed pixels"),
        "signed in colours": (plain(PART.astype(np.int8), {FORMAT: [2, 2, 2]}), REFUSED),
        "signed, one of three": (plain(PART, {FORMAT: [1, 2, 1]}), REFUSED),
        "64 bits": (plain(SHADES.astype(np.uint64)), REFUSED),
        "16 bits, white is 0": (plain(deep, {PHOTOMETRIC: 0}), 255 - _SHOWN),
        "16 bits, big-endian": (plain(deep.astype(">u2"), order=">"), _SHOWN),
        "16 bits called 8": (plain(deep, {BITS: 8}), OTHER),
        "8 bits called 16": (plain(SHADES, {BITS: 16}), REFUSED),
        "16 bits in a palette of two": (plain(deep, {SAMPLES: 2}), REFUSED),
        "of tifffile, with a description": (written(SHADES, description="x" * 100_000), _SHOWN),
    }
