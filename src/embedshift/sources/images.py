"""Decodes bytes to RGB uint8 `[H, W, 3]`, safely, and makes the encoder's square input from an image."""

import hashlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from embedshift.arrays import Pixels, Values
from embedshift.config import Resize
from embedshift.errors import EmbedshiftError
from embedshift.registry.extras import cv2
from embedshift.sources import completeness as tiff
from embedshift.sources.completeness import (
    LOSSLESS,
    jpeg_scans,
    lacks_lines,
    lacks_restarts,
    moves,
    shorter_webp,
    with_alpha,
    with_more_codes,
    without_texts,
)


def reduced(image: Pixels, longest: int) -> Pixels:
    """Reduces an image whose longest side has more pixels; by Pillow, whose pixels are equal on all processors."""
    height, width = image.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return image
    size = max(1, round(factor * width)), max(1, round(factor * height))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0))


@dataclass(frozen=True)
class ToInput:
    """Makes the encoder's square input of images; of a "crop", `shortest` is the shortest side before the crop."""

    size: int
    how: Resize = "squash"
    shortest: int | None = None
    resample: int = 3

    def __call__(self, image: Pixels) -> Pixels:
        size = self.size
        if self.how == "squash":
            if image.shape[:2] == (size, size):
                return image
            return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
        height, width = self._scaled(*image.shape[:2])
        if height * width > MAX_PIXELS:
            words = f"an image of {image.shape[1]} x {image.shape[0]} is too elongated to be cropped"
            raise EmbedshiftError(f"{words}; use `resize` squash")
        scaled = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling(self.resample)))
        top, left = (height - size) // 2, (width - size) // 2
        return np.ascontiguousarray(scaled[top : top + size, left : left + size])

    def places(self, height: int, width: int) -> tuple[Values, Values]:
        """Returns the place in an image, x before y, that the input's first pixel shows, and the step to the next."""
        scaled = self._scaled(height, width)
        step = np.array([width / scaled[1], height / scaled[0]])
        first = np.array([(length - self.size) // 2 for length in scaled[::-1]])
        return (first + 0.5) * step - 0.5, step

    def _scaled(self, height: int, width: int) -> tuple[int, int]:
        if self.how == "squash":
            return self.size, self.size
        edge = max(self.shortest or self.size, self.size)
        return (edge, int(edge * width / height)) if height <= width else (int(edge * height / width), edge)


MAX_PIXELS = 100_000_000
# Pixels that are converted at once.
STRIP = 4_000_000
# Most rows of an image that are hashed: all of them would take a third of the time that decoding takes.
HASHED_ROWS = 128
# Pillow opens more formats, some through external programs (EPS); only plain image formats are read.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
# What a decoder puts where a JPEG has no codes; inks are inverted.
GREY = {127, 128}
# Numbers of run lengths in a BMP.
RUNS = (1, 2)
# Factors from levels of 2 and 4 bits to those of 8, which the clear level of a PNG needs too.
LEVELS = {"L;2": 85, "L;4": 17}


def decode(data: bytes) -> Pixels:
    if not data:
        raise EmbedshiftError("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels, orientation = _pixels(data)
            shortened = shorter_webp(data)
            if shortened and _by_opencv(shortened, cv2.IMREAD_UNCHANGED) is not None:
                raise EmbedshiftError("the image is damaged or ends early (a WebP whose end is zeros)")
        return _turned(pixels, orientation)
    except EmbedshiftError:
        raise
    except Image.DecompressionBombError as error:
        raise EmbedshiftError(_too_large("size in the header")) from error
    except UnidentifiedImageError as error:
        raise EmbedshiftError(tiff.unread(data) or "not an image in a known format, or cut off early") from error
    except Exception as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise EmbedshiftError(f"the image is damaged or ends early ({words})") from error


def upright_size(data: bytes) -> tuple[int, int] | None:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            is_turned = _orientation(image) >= 5  # a quarter turn to either side
            # Pillow gives the size of a TIFF upright already, and other sizes as they are stored.
            stored = tiff.size(image) if isinstance(image, TiffImagePlugin.TiffImageFile) else image.size
            return stored[::-1] if is_turned else stored
    except Exception:  # decoding reports the error
        return None


def _pixels(data: bytes) -> tuple[Pixels, int]:
    """Returns the stored pixels `[H, W, 3]` and the EXIF orientation."""
    if data.startswith(b"\xff\xd8"):
        # A broken download may end in zeros, which decode as pixels. Without them, the decoder misses what is missing.
        data = data.rstrip(b"\0")
    try:
        return _checked_pixels(with_alpha(data))
    except ValueError as error:
        if "MAX_TEXT" not in str(error):
            raise
    return _checked_pixels(without_texts(data))


def _checked_pixels(data: bytes) -> tuple[Pixels, int]:
    with _opened(data) as image:
        image.verify()  # the checksums that Pillow does not look at while it decodes
    with _opened(data) as image:
        _check_header(image, data)
        if _is_for_opencv(image):
            pixels = _by_opencv(data, cv2.IMREAD_COLOR)
            if pixels is None:
                raise EmbedshiftError("the image is damaged or ends early (its codes end, or are no codes)")
            return np.ascontiguousarray(pixels[..., ::-1]), 1
        frame = image.tile[0][1] if image.tile else None
        loaded = _loaded(image, data)
        if _lacks_pixels(loaded, data):
            raise EmbedshiftError("the image is damaged or ends early (some of its pixels are missing)")
        if image.format == "GIF" and frame not in (None, (0, 0, *loaded.size)) and "transparency" not in image.info:
            content = loaded.crop(frame)
            loaded.paste(image.info.get("background", 0), (0, 0, *loaded.size))
            loaded.paste(content, frame)
        return _rgb(loaded), _orientation(image)


def _is_for_opencv(image: ImageFile.ImageFile) -> bool:
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return tiff.is_for_opencv(image)
    return image.format == "BMP" and (image.mode in ("1", "L", "P") or image.info.get("compression") in RUNS)


def _by_opencv(data: bytes, how: int) -> Pixels | None:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    return None if pixels is None else np.asarray(pixels, np.uint8)


def _loaded(image: ImageFile.ImageFile, data: bytes) -> Image.Image:
    """Returns an image as Pillow loads it, by OpenCV where Pillow would take more memory for the same pixels."""
    pixels = _by_opencv(data, cv2.IMREAD_UNCHANGED) if _is_wasteful(image, data) else None
    # OpenCV finds alpha in the header of a WebP, Pillow in the codes.
    if pixels is None or pixels.shape[2:] != (len(image.mode),):
        image.load()
        return image
    return Image.frombytes(image.mode, image.size, pixels, "raw", "BGRA"[: len(image.mode)])


def _is_wasteful(image: ImageFile.ImageFile, data: bytes) -> bool:
    if image.format == "WEBP":
        return not moves(data)
    # Of small ones it does not matter, and OpenCV writes about damage to the terminal.
    return "progressive" in image.info and image.mode == "RGB" and image.width * image.height > STRIP


def _check_header(image: ImageFile.ImageFile, data: bytes) -> None:
    """Refuses what Pillow would read wrongly, and puts right what it takes from a header wrongly."""
    how = image.tile[0][3] if image.tile else None
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tiff.check(image, data)
    elif image.format == "GIF" and isinstance(how, tuple) and how[0] == 0:
        raise EmbedshiftError("the image is damaged or ends early (codes of 0 bits)")
    elif image.format == "PNG" and image.mode == "P" and not (image.palette and image.palette.palette):
        raise EmbedshiftError("the image is damaged or ends early (a table of no colours)")
    elif "transparency" in image.info and how in LEVELS:
        image.info["transparency"] = image.info["transparency"] * LEVELS[str(how)] & 255
    elif "transparency" in image.info and how == "RGB;16B":  # Pillow keeps 8 of 16 bits, and finds no clear pixel
        raise EmbedshiftError("a PNG of 16 bits with a clear colour is not read; convert it to 8 bits")


def _lacks_pixels(image: Image.Image, data: bytes) -> bool:
    """Returns whether a loaded JPEG or PNG holds fewer pixels than it has; Pillow fills them up without a word."""
    right, low = image.size
    if image.format == "PNG":
        is_black = not np.asarray(image.crop((0, low - 1, right, low))).any()
        return ("interlace" in image.info or is_black) and lacks_lines(data)
    if not data.startswith(b"\xff\xd8"):
        return False
    frame, scanned = jpeg_scans(data)
    last = image.getpixel((right - 1, low - 1))
    if scanned and frame != LOSSLESS and not GREY.issuperset(last if isinstance(last, tuple) else (last,)):
        return False
    return not scanned or lacks_restarts(data) or not _shows(image, with_more_codes(data))


def _shows(image: Image.Image, data: bytes) -> bool:
    """Returns whether bytes show the same picture as a loaded image, which is replaced: memory is for one of them."""
    try:
        expected = _digest(image)
        image.close()
        with _opened(data) as other:
            image.im = _loaded(other, data).im
        return _digest(image) == expected
    except Exception:
        return False


def _digest(image: Image.Image) -> bytes:
    digest = hashlib.blake2b()
    for strip in _strips(image):
        digest.update(strip.tobytes())
    return digest.digest()


def _opened(data: bytes) -> ImageFile.ImageFile:
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise EmbedshiftError(_too_large(f"{image.width} x {image.height}"))
    return image


def _too_large(size: str) -> str:
    return f"the image has more than 100 megapixels ({size}): scale it down first"


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # the pixels may be fine although the EXIF block is unreadable
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _rgb(image: Image.Image) -> Pixels:
    """Converts a loaded image to RGB `[H, W, 3]`, a large one strip by strip to bound the memory."""
    bits = tiff.depth(image) if isinstance(image, TiffImagePlugin.TiffImageFile) else 16
    if image.width * image.height <= STRIP:
        return np.asarray(_to_rgb(image, bits))
    pixels, top = np.empty((image.height, image.width, 3), np.uint8), 0
    for strip in _strips(image):
        pixels[top : top + strip.height] = np.asarray(_to_rgb(strip, bits))
        top += strip.height
    return pixels


def _strips(image: Image.Image) -> Iterator[Image.Image]:
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


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
    step = -(-len(image) // HASHED_ROWS)
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image[::step]).data)
    return digest.hexdigest()
