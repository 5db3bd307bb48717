"""Files that a study of pictures from the web meets: whole and odd ones, refused ones, no files, and drawn damage.

What a whole file shows is the array that was written, or what OpenCV shows, which has decoders of its own.
"""

import itertools
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from embedshift.arrays import Pixels
from embedshift.errors import EmbedshiftError
from support.pictures import (
    CHANNELS,
    GREY,
    PHOTO,
    PICTURE,
    chunk,
    encoded,
    lossless_jpeg,
    on_white,
    opencv,
    png,
    png_of,
    resized,
    retagged,
    segment,
    segment_at,
    three,
    tiff,
    with_segment,
)

# Decoders differ by a rounding of colours.
ROUNDING = 1.5
EARLY = "damaged or ends early|not an image in a known format, or cut off early"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One file: what it is, its bytes or what puts it at a path, and its pixels or the words of its failure.

    `off` is how far the mean of the pixels' differences may be from 0, in levels.
    """

    name: str
    data: bytes | None = None
    words: str = ""
    pixels: Any = None
    off: float = 0.0
    file: bytes = b""
    place: Callable[[Path], None] | None = None

    @property
    def file_name(self) -> bytes:
        """The name of its file; the ending says nothing."""
        return self.file or self.name.replace(" ", "-").encode() + b".jpg"


def is_near(found: Pixels, kind: Kind) -> bool:
    """Whether pixels are those of a kind."""
    same = found.dtype == np.uint8 and found.shape == kind.pixels.shape
    return same and bool(np.abs(found.astype(int) - kind.pixels).mean() <= kind.off)


def kinds() -> list[Kind]:
    """All but the drawn ones; made anew, for some take megabytes."""
    found = [*whole(), *refused(), *_places()]
    assert len({kind.file_name for kind in found}) == len(found)
    return found


def write(folder: Path, made: list[Kind]) -> None:
    """Puts the files of all kinds into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in made:
        path = Path(os.fsdecode(os.path.join(os.fsencode(folder), kind.file_name)))
        (kind.place or Path.touch)(path)
        if kind.data is not None:
            path.write_bytes(kind.data)


def whole() -> Iterator[Kind]:
    """What is measured."""
    exact = itertools.chain(_pngs(), _tiffs(), _others())
    for name, (data, pixels) in exact:
        # Flattening a picture with alpha rounds.
        off = 0.0 if np.asarray(pixels).dtype != np.float64 else 1.0
        yield Kind(name=name, data=data, pixels=np.asarray(pixels, np.uint8), off=off)
    for name, data in _lossy():
        yield Kind(name=name, data=data, pixels=np.asarray(opencv(data), np.uint8), off=ROUNDING)


def _pngs() -> Iterator[tuple[str, tuple[bytes, Any]]]:
    rng = np.random.default_rng(47)
    palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    for colour, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items():
        for depth, interlaced in itertools.product(depths, (False, True)):
            wide = rng.integers(0, 2**depth, (19, 23, CHANNELS[colour]), dtype=np.uint16)
            values = wide if CHANNELS[colour] > 1 else wide[..., 0]
            extra = [chunk(b"PLTE", palette[: 2**depth].tobytes())] if colour == 3 else []
            levels = values >> 8 if depth == 16 else values.astype(int) * 255 // (2**depth - 1)
            grey = levels[..., 0] if colour == 4 else levels
            colours: Any = palette[values] if colour == 3 else three(grey) if colour in (0, 4) else levels[..., :3]
            shown = on_white(colours, levels[..., -1]) if colour in (4, 6) else colours
            name = f"png of {depth} bits and colour type {colour}{' interlaced' * interlaced}"
            yield name, (png_of(values, colour, *extra, depth=depth, interlaced=interlaced), shown)
    for depth, clear in ((1, 1), (2, 2), (4, 7), (8, 20), (16, 0x8001)):
        values = np.arange(24).reshape(3, 8) * (2**depth - 1) // 23
        values[0, 0] = clear
        levels = values >> 8 if depth == 16 else values * 255 // (2**depth - 1)
        data = png_of(values, 0, chunk(b"tRNS", struct.pack(">H", clear)), depth=depth)
        yield f"png of {depth} bits with a clear level", (data, three(np.where(values == clear, 255, levels)))
    clear = PHOTO[7, 7]
    white = np.where((clear == PHOTO).all(-1, keepdims=True), 255, PHOTO)
    yield "png with a clear colour", (png_of(PHOTO, 2, chunk(b"tRNS", clear.astype(">u2").tobytes())), white)
    indices = rng.integers(0, 4, (9, 9), dtype=np.uint8)
    table = chunk(b"PLTE", palette[:4].tobytes()), chunk(b"tRNS", bytes([255, 128, 0]))
    yield (
        "png with a palette with alpha",
        (png_of(indices, 3, *table), on_white(palette[indices], np.array([255, 128, 0, 255])[indices])),
    )
    few = chunk(b"PLTE", palette[:3].tobytes())
    yield "png of a palette too short", (png_of(indices, 3, few), np.where(indices[..., None] < 3, palette[indices], 0))
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 1_000_000))
    parts = {
        "a text of 3 MB": [chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 3_000_000))],
        "texts of 80 MB": [text * 80],
        "a bad profile": [chunk(b"iCCP", b"x\0\0" + zlib.compress(b"no profile"))],
        "10000 chunks": [chunk(b"abCd", b"")] * 10_000,
    }
    yield from ((f"png with {name}", (png_of(PHOTO, 2, *extra), PHOTO)) for name, extra in parts.items())
    made = png_of(PHOTO, 2)
    yield "png with a text of 3 MB behind", (made[:-12] + parts["a text of 3 MB"][0] + made[-12:], PHOTO)
    yield "png with junk behind", (made + b"junk" * 99, PHOTO)
    yield "png of a pixel", (png_of(PHOTO[:1, :1], 2), PHOTO[:1, :1])
    tall = np.zeros((10_000, 1, 3), np.uint8)
    yield "png of 1 x 10000, black", (png_of(tall, 2), tall)
    yield "png of more codes than pixels", (png(4, 4, 8, 2, bytes(50_000_000)), tall[:16].reshape(4, 4, 3))


def _tiffs() -> Iterator[tuple[str, tuple[bytes, Any]]]:
    rng = np.random.default_rng(47)
    bits, inks, few = GREY > 127, np.asarray(PICTURE.convert("CMYK")).astype(float), PICTURE.quantize(256)
    deep = rng.integers(0, 65536, PHOTO.shape, dtype=np.uint16)
    alpha = np.dstack([PHOTO, rng.integers(0, 256, GREY.shape, dtype=np.uint8)])
    of_pillow = {
        "colours": (PICTURE, PHOTO),
        "grey": (Image.fromarray(GREY), three(GREY)),
        "bits": (Image.fromarray(bits), three(255 * bits)),
        "palette": (few, np.asarray(few.convert("RGB"))),
        "inks": (PICTURE.convert("CMYK"), (255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255),
        "alpha": (Image.fromarray(alpha), on_white(PHOTO, alpha[..., 3])),
        "16 bits": (Image.fromarray(deep[..., 0]), three(deep[..., 0] >> 8)),
    }
    for how in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        for name, (picture, shown) in of_pillow.items():
            yield f"tiff of {name} by {how}", (encoded(picture, "TIFF", compression=how), shown)
    for how in ("group3", "group4", "tiff_ccitt"):
        yield f"tiff by {how}", (encoded(Image.fromarray(bits), "TIFF", compression=how), three(255 * bits))
    planes = np.ascontiguousarray(PHOTO.transpose(2, 0, 1))
    white = {"photometric": "miniswhite"}
    written: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        "in tiles": (PHOTO, PHOTO, {"tile": (16, 16)}),
        "in strips of 7 rows": (PHOTO, PHOTO, {"rowsperstrip": 7}),
        "big": (PHOTO, PHOTO, {"bigtiff": True}),
        "big-endian": (deep[..., 0], three(deep[..., 0] >> 8), {"byteorder": ">"}),
        "of 16 bits in colours": (deep, deep >> 8, {}),
        "of planes": (planes, PHOTO, {"planarconfig": "separate"}),
        "with differences": (PHOTO, PHOTO, {"compression": "zlib", "predictor": True}),
        "where white is 0": (GREY, three(255 - GREY), white),
        "where white is 0, deflated": (GREY, three(255 - GREY), white | {"compression": "zlib"}),
        "of 16 bits where white is 0": (deep[..., 0], three(255 - (deep[..., 0] >> 8)), white),
        "in 10000 strips": (np.arange(10_000, dtype=np.uint8)[:, None], None, {"rowsperstrip": 1}),
    }
    for name, (values, shown, options) in written.items():
        yield f"tiff {name}", (tiff(values, **options), three(values) if shown is None else shown)
    sized = tiff(GREY, photometric="minisblack")
    yield "tiff of a strip of a wrong size", (retagged(sized, 279, value=10), three(GREY))
    table = np.arange(768, dtype=np.uint16).reshape(3, 256) % 256  # of 8 bits in 16, as some programs write it
    eight = tiff(GREY, photometric="palette", colormap=table)
    yield "tiff of a palette of 8 bits", (eight, table.T[GREY])
    yield "tiff of 12 bits", twelve_bits()


def twelve_bits(bits: int = 12) -> tuple[bytes, Pixels]:
    """A ramp without gaps between its bits, as cameras write it, and its high bytes."""
    ramp = (np.linspace(0, 1, 16)[None].repeat(4, 0) * (2**bits - 1)).astype(np.int64)
    data = b"".join(np.packbits((row[:, None] >> np.arange(bits)[::-1]) & 1).tobytes() for row in ramp)
    tags = {256: 16, 257: 4, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: 4, 279: len(data)}
    directory = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    return head + data + struct.pack("<H", len(tags)) + directory + bytes(4), three(ramp >> (bits - 8))


def _others() -> Iterator[tuple[str, tuple[bytes, Any]]]:
    rng = np.random.default_rng(47)
    few, bits = PICTURE.quantize(16), GREY > 127
    shown, grey = np.asarray(few.convert("RGB")), Image.fromarray(GREY)
    alpha = np.dstack([PHOTO, rng.integers(0, 256, GREY.shape, dtype=np.uint8)])
    webp = encoded(PICTURE, "WEBP", lossless=True)
    yield "webp lossless", (webp, PHOTO)
    yield (
        "webp lossless with alpha",
        (encoded(alpha, "WEBP", lossless=True, exact=True), on_white(PHOTO, alpha[..., 3])),
    )
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        frames = [Image.fromarray(shown), PICTURE.rotate(90), PICTURE.rotate(180)]
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **{"lossless": True} if kind == "WEBP" else {})  # fmt: skip  # noqa: E501
        yield f"{kind.lower()} of three frames", (data, shown)
    made = encoded(few, "GIF", interlace=0)
    yield "gif", (made, shown)
    yield "gif interlaced", (encoded(few, "GIF", interlace=1), shown)
    indices = np.asarray(few)[..., None]
    yield "gif with a clear colour", (encoded(few, "GIF", transparency=3), np.where(indices == 3, 255, shown))
    screen = np.empty((120, 160, 3), np.uint8)
    screen[:] = shown[np.asarray(few) == 5][0]
    screen[:90, :120] = shown
    wide = made[:6] + struct.pack("<HHBB", 160, 120, made[10], 5) + made[12:]
    yield "gif on a larger screen", (wide, screen)
    levels = [Image.new("L", (8, 8), level % 256) for level in range(1000)]
    films = encoded(levels[0], "GIF", save_all=True, append_images=levels[1:])
    yield "gif of 1000 frames", (films, np.zeros((8, 8, 3), np.uint8))
    yield "bmp", (encoded(PICTURE, "BMP"), PHOTO)
    yield "bmp grey", (encoded(grey, "BMP"), three(GREY))
    yield "bmp palette", (encoded(few, "BMP"), shown)
    yield "bmp of 1 bit", (encoded(Image.fromarray(bits), "BMP"), three(255 * bits))
    yield "bmp of 2 runs a line", (_runs(), np.asarray([[[0] * 3] * 4 + [[255, 0, 0]] * 6] * 3, np.uint8))


def _runs() -> bytes:
    codes = b"\x04\0\x06\1\0\0" * 3 + b"\0\1"
    table = bytes(4) + b"\0\0\xff\0"
    head = struct.pack("<IiiHHIIiiII", 40, 10, 3, 1, 8, 1, len(codes), 0, 0, 2, 0)
    return b"BM" + struct.pack("<IHHI", 62 + len(codes), 0, 0, 62) + head + table + codes


JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "4 4 4": {"subsampling": 0, "quality": 100},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "many restarts": {"restart_marker_blocks": 3},
    "optimized": {"optimize": True, "quality": 20},
}


def _lossy() -> Iterator[tuple[str, bytes]]:
    plain, grey, ink = encoded(PICTURE, "JPEG"), Image.fromarray(GREY), PICTURE.convert("CMYK")
    for name, options in JPEGS.items():
        yield f"jpeg {name}", encoded(PICTURE, "JPEG", **options)
        options = {key: value for key, value in options.items() if key != "subsampling"}
        yield f"jpeg grey {name}", encoded(grey, "JPEG", **options)
        yield f"jpeg of inks {name}", encoded(ink, "JPEG", **options)
    inks = encoded(ink, "JPEG")
    adobe = inks.index(b"Adobe")
    yield "jpeg of inks as YCCK", inks[: adobe + 11] + b"\2" + inks[adobe + 12 :]
    yield "jpeg of its primaries", encoded(PICTURE, "JPEG", keep_rgb=True)
    word = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\2\0\3\0\0\0up\0\0\0\0\0\0"
    for name, exif in {"cut": b"Exif\0\0MM\0*\0\0\0\x08\xff\xff broken", "of a word": word}.items():
        yield f"jpeg with EXIF {name}", encoded(PICTURE, "JPEG", exif=exif)
    yield "jpeg with a profile of a megabyte", encoded(PICTURE, "JPEG", icc_profile=b"no profile" * 100_000)
    yield "jpeg with a thumbnail", encoded(PICTURE, "JPEG", exif=b"Exif\0\0MM" + encoded(grey.resize((64, 48)), "JPEG"))
    yield "jpeg with fill bytes", plain[:2] + b"\xff" * 500 + plain[2:]
    yield "jpeg with 1000 comments", plain[:2] + segment(0xFE, b"hi") * 1000 + plain[2:]
    yield "jpeg with junk behind", plain + b"\xff\xda junk" * 99
    yield "jpeg with another behind", plain + encoded(PICTURE.resize((300, 200)), "JPEG")
    yield "jpeg without JFIF", with_segment(plain, 0xE0, None)
    yield "jpeg two in one", encoded(PICTURE, "MPO", save_all=True, append_images=[grey])
    yield "jpeg of 1 x 10000", encoded(np.arange(10_000, dtype=np.uint8)[:, None], "JPEG")
    yield "jpeg half as tall as its codes", resized(plain, 120, 48)
    yield "jpeg lossless", lossless_jpeg()
    yield "webp", encoded(PICTURE, "WEBP")
    yield "webp with alpha", encoded(np.dstack([PHOTO, GREY]), "WEBP")
    zeros = encoded(np.full((600, 800, 3), 128, np.uint8), "WEBP", quality=100, method=0)
    assert zeros.endswith(bytes(1000)), "a whole picture that ends in zeros"
    yield "webp that ends in zeros", zeros
    yield "tiff by jpeg", encoded(PICTURE, "TIFF", compression="jpeg")


def refused() -> Iterator[Kind]:
    """What is a failure, by its words."""
    for words, table in {
        "more than 100 megapixels": _bombs(),
        "not an image in a known format": _no_pictures(),
        EARLY: _broken(),
        "convert (the image|it) to 8|not an image in a known": _ranges(),
    }.items():
        yield from (Kind(name=name, data=data, words=words) for name, data in table.items())
    yield Kind(name="empty", data=b"", words="the file is empty")
    for number, start in enumerate(
        (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"GIF89a", b"BM", b"II*\0")
    ):
        yield Kind(name=f"only a signature {number}", data=start, words="not an image|early")


def _bombs() -> dict[str, bytes]:
    bmp, gif, jpeg = encoded(PICTURE, "BMP"), encoded(PICTURE.quantize(8), "GIF"), encoded(PICTURE, "JPEG")
    made = {
        f"png header of {width} x {height}": png(width, height, 1, 0, bytes(64))
        for width, height in ((12_000, 9_000), (30_000, 30_000), (100_000, 1_001), (2**31 - 1, 2**31 - 1))
    }
    return made | {
        "bmp header of 60000 x 60000": bmp[:18] + struct.pack("<ii", 60_000, 60_000) + bmp[26:],
        "gif header of 65535 x 65535": gif[:6] + b"\xff\xff\xff\xff" + gif[10:],
        "jpeg header of 65500 x 65500": resized(jpeg, 65_500, 65_500),
        "tiff header of 60000 x 60000": retagged(retagged(tiff(GREY), 256, value=60_000), 257, value=60_000),
    }


def _no_pictures() -> dict[str, bytes]:
    pages = {kind: encoded(PICTURE, kind) for kind in ("PDF", "EPS", "ICO", "TGA", "PPM")}
    return pages | {
        "text": b"this is a text, not a picture\n" * 50,
        "zeros": bytes(5000),
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "html": b"<!doctype html><html><body>404 Not Found</body></html>",
        "random": np.random.default_rng(0).bytes(5000),
        "jpeg all fill": b"\xff\xd8" + b"\xff" * 4_000_000,
    }


def _broken() -> dict[str, bytes]:
    """What a decoder would show without a word, or fill up."""
    jpeg, progressive = (encoded(PICTURE, "JPEG", progressive=each) for each in (False, True))
    restarts = encoded(PICTURE, "JPEG", restart_marker_blocks=4)
    gif, codes = encoded(PICTURE.quantize(8), "GIF"), png_of(PHOTO, 2)
    at = gif.index(b",\0\0\0\0") + 7  # the height in the frame; that of the screen is at 8
    table = gif[:at].rindex(b",") + 10
    raw, strips = tiff(PHOTO), tiff(PHOTO, rowsperstrip=30)
    fax = encoded(Image.fromarray(GREY > 127), "TIFF", compression="group4")
    start, size = (int.from_bytes(_value(fax, tag), "little") for tag in (273, 279))
    indexed = encoded(PICTURE.quantize(64), "TIFF")
    scan = segment_at(jpeg, 0xDA)[0]
    return {
        **{
            f"{name} twice as tall as its codes": resized(data, 120, 180)
            for name, data in (("jpeg", jpeg), ("jpeg progressive", progressive))
        },
        "jpeg without a height": resized(jpeg, 120, 0),
        "jpeg of a scan of one colour": with_segment(jpeg, 0xDA, b"\1\1\0\0\x3f\0"),
        "jpeg ended before its scan": jpeg[:scan] + b"\xff\xd9",
        "jpeg with a longer interval than its restarts": with_segment(restarts, 0xDD, b"\0\7"),
        "jpeg with restarts and no interval": with_segment(restarts, 0xDD, None),
        "jpeg lossless that ends early": lossless_jpeg()[:-60] + b"\xff\xd9",
        "png without its end": codes[:-12],
        "png without pixels": png(0, 9, 8, 2, b""),
        "png of indices without colours": png_of(GREY, 3),
        "png with a profile of 100 MB": png_of(PHOTO, 2, chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(100_000_000)))),
        "gif twice as tall as its codes": gif[:8] + b"\xb4\0" + gif[10:at] + b"\xb4\0" + gif[at + 2 :],
        "gif with codes of 0 bits": gif[:table] + b"\0" + gif[table + 1 :],
        "tiff that does not say what is black": retagged(tiff(GREY), 262, name=261),
        "tiff of a strip less": retagged(retagged(strips, 273, count=2), 279, count=2),
        "tiff twice as tall as its strips": retagged(strips, 257, value=180),
        "tiff of strips of few bytes": retagged(tiff(PHOTO, rowsperstrip=45), 279, value=16_200 | 16_199 << 16),
        "tiff twice as wide": retagged(raw, 256, value=240),
        "tiff of a fax that ends in zeros": fax[: start + size // 2] + bytes(size - size // 2) + fax[start + size :],
        "tiff of a palette of 16 colours": retagged(indexed, 320, count=48),
    }


def _value(data: bytes, tag: int) -> bytes:
    at = int.from_bytes(data[4:8], "little") + 2
    while int.from_bytes(data[at : at + 2], "little") != tag:
        at += 12
    return data[at + 8 : at + 12]


def _ranges() -> dict[str, bytes]:
    ramp = np.linspace(0, 1, 16)[None].repeat(4, 0)
    made = {f"tiff of {bits} bits": twelve_bits(bits)[0] for bits in (6, 10, 14, 24, 32, 48)}
    types: tuple[Any, ...] = (np.int8, np.int16, np.int32, np.uint32, np.float32)
    for kind in types:
        grey: Any = (ramp * (1 if kind == np.float32 else np.iinfo(kind).max)).astype(kind)
        made[f"tiff of {kind.__name__}"] = tiff(grey)
        made[f"tiff of {kind.__name__} in colours"] = tiff(np.stack([grey] * 3, -1))
    made["tiff of uint32 that holds 8 bits"] = tiff((ramp * 255).astype(np.uint32))
    made["tiff of int32 that holds 17 bits"] = encoded(Image.fromarray(np.full((4, 4), 70_000, np.int32)), "TIFF")
    clear = chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
    made["png of 16 bits with a clear colour"] = png_of(PHOTO.astype(np.uint16), 2, clear, depth=16)
    return made


def _places() -> Iterator[Kind]:
    """Names that are odd, and what is no file at all."""
    data = encoded(PHOTO[::-1], "PNG")
    names = (
        b"caf\xe9\xff.png", b"n" * 251 + b".png", b"two\nlines\r\n.png", b"\x1b[31mred\x1b[0m\x07.png",
        b"<img src=x onerror=alert(1)>.png", b"'a' \"b\" `c` $(d).png", b"--out=x.png", b"a\\xe9.png",
        "\u202egnp.png".encode(), b"-rf.png", b"[bold]red[-bold].png", "写真 🦊.png".encode(),
    )  # fmt: skip
    for file in names:
        yield Kind(name=f"name {file!r}", data=data, pixels=PHOTO[::-1], file=file)
    places: dict[str, tuple[Callable[[Path], None], str]] = {
        "broken link": (lambda path: path.symlink_to("nowhere"), "No such file"),
        "link to itself": (lambda path: path.symlink_to(path.name), "Too many levels"),
        "link to a device": (lambda path: path.symlink_to("/dev/zero"), "a device, not a file"),
        "fifo": (os.mkfifo, "a FIFO, not a file"),
        "socket": (make_socket, "a socket, not a file"),
        "40 GB of holes": (make_holes, "larger than 1 GB"),
    }
    for name, (place, words) in places.items():
        yield Kind(name=name, place=place, words=words)


def make_socket(path: Path) -> None:
    """A socket at a path of any length; its own may have no more than 107 bytes."""
    here = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def make_holes(path: Path) -> None:
    """A file of 40 GB that takes no place on the disk."""
    path.touch()
    os.truncate(path, 40 * 2**30)


def bases() -> dict[str, bytes]:
    """Valid files to be damaged, one for each way in which a format stores its pixels."""
    few, bits, alpha = PICTURE.quantize(64), Image.fromarray(GREY > 127), np.dstack([PHOTO, GREY])
    tiffs = {
        f"tiff {how}": encoded(bits if how == "group4" else PICTURE, "TIFF", compression=how)
        for how in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4")
    }
    jpegs = {f"jpeg {name}": encoded(PICTURE, "JPEG", **options) for name, options in JPEGS.items()}
    return jpegs | tiffs | {
        "jpeg grey": encoded(GREY, "JPEG"),
        "jpeg of inks": encoded(PICTURE.convert("CMYK"), "JPEG"),
        "png": encoded(PICTURE, "PNG"),
        "png alpha": encoded(alpha, "PNG"),
        "png palette": encoded(few, "PNG"),
        "png interlaced": png_of(PHOTO, 2, interlaced=True),
        "webp": encoded(PICTURE, "WEBP"),
        "webp lossless": encoded(PICTURE, "WEBP", lossless=True),
        "webp alpha": encoded(alpha, "WEBP"),
        "gif": encoded(few, "GIF", interlace=0),
        "gif interlaced": encoded(few, "GIF", interlace=1),
        "bmp": encoded(PICTURE, "BMP"),
        "bmp palette": encoded(few, "BMP"),
    }  # fmt: skip


def drawn(data: bytes, seed: int, each: int) -> Iterator[tuple[str, bytes]]:
    """A file with a flipped bit, another byte in its first 700, zeros inside, zeros at its end, or cut; drawn."""
    rng = np.random.default_rng(seed)
    for _ in range(each):
        at, near, size = (int(rng.integers(most)) for most in (len(data), min(700, len(data)), 200))
        yield "flipped", data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
        yield "head", data[:near] + rng.bytes(1) + data[near + 1 :]
        yield "zeros inside", data[:at] + bytes(min(size, len(data) - at)) + data[at + size :]
        yield "zeros behind", data[: min(at, len(data) - 64)].ljust(len(data), b"\0")
        yield "cut", data[:at]


# Zeros at their end may pass, as docs/verified.md says.
MAY_END_IN_ZEROS = ("bmp", "bmp palette", "tiff raw", "tiff jpeg", "tiff group4", "webp lossless")


def outcome(how: str, name: str, data: bytes, whole_one: Pixels, decode: Callable[[bytes], Pixels]) -> str:
    """What a damaged file is: refused, whole, as OpenCV shows its damage, not told, or words on what is wrong."""
    try:
        found = decode(data)
    except EmbedshiftError as error:
        return "refused" if "\n" not in str(error) else f"WRONG: {error}"
    except Exception as error:
        return f"WRONG: {type(error).__name__}: {error}"
    if np.array_equal(found, whole_one):
        return "whole"
    if how == "cut" or (how == "zeros behind" and name not in MAY_END_IN_ZEROS):
        return f"WRONG: {how} and measured"
    shown = opencv(data)
    if shown is None:
        return "not told"
    is_shown = shown.shape == found.shape and np.abs(found - shown).mean() <= ROUNDING
    return "as OpenCV shows it" if is_shown else "WRONG: not what OpenCV shows"
