"""What decoding takes at its peak: pictures of one size in every format, one after the other in this process.

    MALLOC_MMAP_THRESHOLD_=1000000 python -m support.memory 10000 [NAME ...]

With tests/ on the path, on Linux; the variable makes the allocator give back what is free, so that what grows can be
seen. A line for each picture of 10,000 x 10,000 pixels: the name, and by how many bytes the process grew.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from support.pictures import chunk, encoded, png

TESTS = Path(__file__).parents[1]
# Of a decoder's peak. libjpeg keeps all codes of a progressive JPEG, two bytes each, until its last row is out; beside
# four inks, only Pillow's four bytes a pixel give the same colours.
BYTES_A_PIXEL, OF_FOUR_INKS = 9.5, 12.5
# Pixels of a whole picture for each that is converted at once, at the limit of 100 megapixels.
STRIPS = 25

# For the environment: the allocator hands back what is free, so that a peak can be seen.
GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "1000000"}


def pictures(side: int) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Names, and what makes the pictures."""
    turned = Image.Exif()
    turned[0x0112] = 6

    def made(depth: int, colour: int, channels: int, *extra: bytes) -> Callable[[], bytes]:
        return lambda: png(side, side, depth, colour, bytes((1 + side * channels * depth // 8) * side), *extra)

    def saved(mode: str, kind: str, level: int = 0, **options: Any) -> Callable[[], bytes]:
        return lambda: encoded(Image.new(mode, (side, side), (level,) * len(mode)), kind, **options)

    yield "png rgb", made(8, 2, 3)
    yield "png rgba", made(8, 6, 4)
    yield "png 16-bit grey", made(16, 0, 1)
    yield "png 16-bit rgb", made(16, 2, 3)
    yield "png 16-bit rgba", made(16, 6, 4)
    yield "png palette with alpha", made(8, 3, 1, chunk(b"PLTE", bytes(768)), chunk(b"tRNS", bytes(256)))
    yield "png grey with alpha", made(8, 4, 2)
    yield "png of noise in one chunk", lambda: png(side, side, 8, 2, noise(side))
    yield "png turned", saved("RGBA", "PNG", exif=turned, compress_level=1)
    yield "jpeg", saved("RGB", "JPEG")
    yield "jpeg turned", saved("RGB", "JPEG", exif=turned)
    yield "jpeg progressive", saved("RGB", "JPEG", progressive=True, subsampling=0)
    yield "jpeg that ends in grey", saved("RGB", "JPEG", 128)
    yield "jpeg progressive cmyk", saved("CMYK", "JPEG", progressive=True)
    yield "webp", saved("RGB", "WEBP", method=0)
    yield "webp lossless", saved("RGBA", "WEBP", lossless=True, method=0, quality=0)
    yield "gif", saved("P", "GIF")
    yield "bmp", saved("RGB", "BMP")
    yield "tiff", saved("RGBA", "TIFF")
    yield "tiff lzw", saved("RGBA", "TIFF", compression="tiff_lzw")


def bound(name: str, side: int) -> float:
    """Bytes that a picture may take beyond its file."""
    return (OF_FOUR_INKS if name == "jpeg progressive cmyk" else BYTES_A_PIXEL) * side**2


def noise(side: int) -> bytes:
    """Lines of a PNG that do not get smaller, and a black one."""
    line = 1 + 3 * side
    return b"".join(b"\0" + os.urandom(line - 1) for _ in range(side - 1)) + bytes(line)


def peak(data: bytes) -> int:
    """By how many bytes the process grows while it decodes."""
    from embedshift.sources.images import decode

    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = _status("VmRSS")
    shape = decode(data).shape
    assert len(shape) == 3
    return _status("VmHWM") - before


def _status(name: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{name}:")[1].split()[0]) * 1024


def main() -> None:
    """Prints the peaks."""
    from embedshift.sources import images

    side, chosen = int(sys.argv[1]), sys.argv[2:]
    images.STRIP = side**2 // STRIPS  # peaks of small pictures are those of large ones, in small
    for name, make in pictures(side):
        if not chosen or name in chosen:
            sys.stdout.write(f"{name} {peak(make())}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
