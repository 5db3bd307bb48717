"""What Pillow does not see in a TIFF: how deep its samples are, and that strips, tiles or colours are missing."""

import io
import warnings
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
        covered = sum(_area(tile[1]) for tile in image.tile)
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


def _area(box: tuple[int, int, int, int] | None) -> int:
    left, high, right, low = box or (0, 0, 0, 0)
    return (right - left) * max(0, low - high)


def _numbers(value: Any) -> tuple[int, ...]:
    """Returns the numbers of a tag, which may hold one, several or anything."""
    values = value if isinstance(value, tuple) else (value,)
    return tuple(number for number in values if isinstance(number, int))


def _first(value: Any, otherwise: int) -> int:
    return next(iter(_numbers(value)), otherwise)
