"""Malformed and odd pictures in all formats that are read, written by hand: what each shows is known, or it is refused.

A kind with pixels and no words must be measured as it is; one with words and no pixels must be refused; with both,
either is right, as of a picture whose pixels are whole and whose other parts are not. With neither, nothing in the
file tells the damage.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from embedshift.arrays import Pixels
from embedshift.errors import EmbedshiftError
from support.hostile import Kind
from support.hostile.encodings import other_decoder

# What a refusal says, in one line.
REFUSED = (
    "^(the image is damaged or ends early|the image has more than|not an image in a known format|floating-point pixels"
    "|signed pixels|a TIFF of|a PNG of 16 bits)"
)
# What another decoder shows.
OTHER = "other"


def rows(form: str, ending: str, table: dict[str, tuple[bytes, Any]]) -> Iterator[Kind]:
    """Kinds of a table, name → bytes and what is expected.

    That is pixels, and how far off they may be if they are not exact; the words of a refusal; both if either is right;
    "other", for what OpenCV shows; or None if nothing tells.
    """
    for name, (data, expected) in table.items():
        if isinstance(expected, str) and expected == OTHER:
            expected = (other_decoder(data), 3.0)
        parts = expected if isinstance(expected, tuple) else (expected,)
        words = next((part for part in parts if isinstance(part, str)), None)
        off = next((part for part in parts if isinstance(part, float)), 0.0)
        pixels = None if parts[0] is None or isinstance(parts[0], str) else np.asarray(parts[0], np.uint8)
        yield Kind(name=f"{form} {name}", ending=ending, data=data, words=words, pixels=pixels, off=off)


def kinds() -> list[Kind]:
    """All of them."""
    from support.malformed import (  # fmt: skip
        bmps,
        gifs,
        jpeg_codes,
        jpeg_extras,
        png_chunks,
        png_pixels,
        tiff_pixels,
        tiff_tags,
        webps,
    )

    modules = (jpeg_codes, jpeg_extras, png_chunks, png_pixels, webps, tiff_tags, tiff_pixels, gifs, bmps)
    found = [kind for module in modules for kind in module.kinds()]
    assert len({kind.file_name for kind in found}) == len(found)
    return found


def outcome(kind: Kind, decode: Callable[[bytes], Pixels]) -> tuple[str, str]:
    """Whether a kind is measured or refused as it must be, not told or WRONG; and how."""
    assert kind.data is not None
    is_told = kind.pixels is not None or kind.words is not None
    try:
        found = decode(kind.data)
    except EmbedshiftError as error:
        words = str(error)
        is_right = len(words.splitlines()) == 1 and bool(re.search(kind.words or REFUSED, words))
        if not is_right or (kind.words is None and is_told):
            return "WRONG", words
        return "refused" if is_told else "not told", words
    except Exception as error:
        return "WRONG", f"{type(error).__name__}: {error}"
    if kind.pixels is None:
        return ("WRONG", "measured") if is_told else ("not told", "measured")
    if found.dtype != np.uint8 or found.shape != kind.pixels.shape:
        return "WRONG", f"{found.dtype} {found.shape}"
    off = float(np.abs(found.astype(int) - kind.pixels).mean())
    return "measured" if off <= kind.off else "WRONG", f"{off:.2f} levels off"
