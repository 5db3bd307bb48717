"""Decodes bytes to RGB uint8 `[H, W, 3]`, safely, and resizes images to the encoder's size."""

import hashlib
import io
import warnings
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from embedshift.arrays import Pixels
from embedshift.config import Resize
from embedshift.errors import EmbedshiftError
from embedshift.sources.completeness import shorter_webp, without_texts

MAX_PIXELS = 100_000_000
# Pixels that are converted at once.
STRIP = 4_000_000
# Most rows of an image that are hashed: all of them would take a third of the time that decoding takes.
HASHED_ROWS = 128
# Pillow opens more formats, some through external programs (EPS); only plain image formats are read.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
# Numbers of a TIFF's tags, of signed samples, and of a picture whose 0 is white.
DEPTH, COLOURS, SAMPLES = 258, 262, 339
SIGNED, WHITE_IS_0 = 2, 0


def decode(data: bytes) -> Pixels:
    """Decodes one image completely, by its content and not by its name."""
    if not data:
        raise EmbedshiftError("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels, orientation = _pixels(data)
            if (shortened := shorter_webp(data)) and _loads(shortened):
                raise EmbedshiftError("the image is damaged or ends early (a WebP whose end is zeros)")
        return _turned(pixels, orientation)
    except EmbedshiftError:
        raise
    except Image.DecompressionBombError as error:
        raise EmbedshiftError(_too_large("size in the header")) from error
    except UnidentifiedImageError as error:
        raise EmbedshiftError(_unread_tiff(data) or "not an image in a known format, or cut off early") from error
    except Exception as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise EmbedshiftError(f"the image is damaged or ends early ({words})") from error


def upright_size(data: bytes) -> tuple[int, int] | None:
    """Reads width and height of an image, turned by its EXIF orientation, from the header alone."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5  # a quarter turn to either side
            return image.size[::-1] if turned else image.size
    except Exception:  # decoding reports the error
        return None


def _pixels(data: bytes) -> tuple[Pixels, int]:
    """Returns the stored pixels `[H, W, 3]` and the EXIF orientation."""
    if data.startswith(b"\xff\xd8"):
        # A broken download may end in zeros, which decode as pixels. Without them, the decoder misses what is missing.
        data = data.rstrip(b"\0")
    try:
        return _checked_pixels(data)
    except ValueError as error:
        if "MAX_TEXT" not in str(error):
            raise
    return _checked_pixels(without_texts(data))


def _checked_pixels(data: bytes) -> tuple[Pixels, int]:
    with _opened(data) as image:
        image.verify()  # the checksums that Pillow does not look at while it decodes
    with _opened(data) as image:
        image.load()
        return _rgb(image), _orientation(image)


def _opened(data: bytes) -> ImageFile.ImageFile:
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise EmbedshiftError(_too_large(f"{image.width} x {image.height}"))
    return image


def _loads(data: bytes) -> bool:
    try:
        Image.open(io.BytesIO(data), formats=FORMATS).load()
    except Exception:
        return False
    return True


def _too_large(size: str) -> str:
    return f"the image has more than 100 megapixels ({size}): scale it down first"


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # the pixels may be fine although the EXIF block is unreadable
        return 1


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Turns the pixels upright by the EXIF number."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _rgb(image: Image.Image) -> Pixels:
    """Returns RGB `[H, W, 3]` of a loaded image, strip by strip; copies of the whole would multiply its memory."""
    rows, bits = max(1, STRIP // image.width), _depth(image)
    if rows >= image.height:
        return np.asarray(_to_rgb(image, bits))
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        pixels[top : top + rows] = np.asarray(_to_rgb(strip, bits))
    return pixels


def _depth(image: Image.Image) -> int:
    """Returns the bits of a channel with more than 8, below 0 if 0 is white; refuses pixels without a fixed range."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 16
    tags = image.tag_v2
    depth, samples = (_numbers(tags.get(tag)) for tag in (DEPTH, SAMPLES))
    if SIGNED in samples:
        raise EmbedshiftError("signed pixels have no fixed range; convert the image to 8 or 16 bits without sign")
    if max(depth, default=8) > 16 and image.mode != "F":
        raise EmbedshiftError("the image has more than 16 bits per channel; convert it to 8 or 16 bits")
    return (-1 if tags.get(COLOURS) == WHITE_IS_0 else 1) * max(depth, default=16)


def _unread_tiff(data: bytes) -> str:
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


def _numbers(value: Any) -> tuple[int, ...]:
    """Returns the numbers of a tag, which may hold one, several or anything."""
    values = value if isinstance(value, tuple) else (value,)
    return tuple(number for number in values if isinstance(number, int))


def _to_rgb(image: Image.Image, bits: int) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        return _high_byte(np.asarray(image), image.info.get("transparency"), bits).convert("RGB")
    if image.mode == "F":
        raise EmbedshiftError("floating-point pixels have no fixed range; convert the image to 8 or 16 bits")
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        white = Image.new("RGBA", colour.size, "white")
        return Image.alpha_composite(white, colour).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # it would copy


def _high_byte(values: NDArray[np.generic], transparent: int | None, bits: int) -> Image.Image:
    wide = values.astype(np.int64)
    if wide.min() < 0 or wide.max() >> abs(bits):
        raise EmbedshiftError("the image has more than 16 bits per channel; convert it to 8 or 16 bits")
    high = wide >> (abs(bits) - 8)
    return Image.fromarray(np.where(wide == transparent, 255, high if bits > 0 else 255 - high).astype(np.uint8))


def pixels_hash(image: Pixels) -> str:
    """Returns a hash of an image's pixels, equal for exact copies in any file format."""
    step = -(-len(image) // HASHED_ROWS)
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image[::step]).data)
    return digest.hexdigest()


def resize(
    image: Pixels, size: int, how: Resize = "squash", *, shortest: int | None = None, resample: int = 3
) -> Pixels:
    """Resizes an image to `size` x `size`."""
    if how == "squash":
        if image.shape[:2] == (size, size):
            return image
        return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    edge = max(shortest or size, size)
    height, width = image.shape[:2]
    if height <= width:
        new_height, new_width = edge, int(edge * width / height)
    else:
        new_height, new_width = int(edge * height / width), edge
    if new_height * new_width > MAX_PIXELS:
        raise EmbedshiftError(f"an image of {width} x {height} is too elongated to be cropped; use `resize` squash")
    scaled = np.asarray(Image.fromarray(image).resize((new_width, new_height), Image.Resampling(resample)))
    top, left = (new_height - size) // 2, (new_width - size) // 2
    return np.ascontiguousarray(scaled[top : top + size, left : left + size])
