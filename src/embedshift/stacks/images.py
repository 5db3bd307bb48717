"""The images of a comparison: those of a user, or such as tell steps apart: the demo's photographs, and odd files."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image

from embedshift.config import as_paths
from embedshift.errors import EmbedshiftError, cause
from embedshift.sources import open_images
from embedshift.sources.base import storable
from embedshift.sources.demo import demo_photos

Box = tuple[int, int, int, int]


def read_images(images: Any, most: int) -> dict[str, bytes]:
    """Returns the files of images by their ids, of more than so many a sample; without images `probe_images`."""
    if not images:
        return probe_images()
    source, samples = open_images(as_paths(images), limit=None, sample=most, seed=0)
    files = dict[str, bytes]()
    for sample in samples:
        with naming(sample.image_id):
            files[storable(sample.image_id)] = source.read(sample)
    return files


@contextlib.contextmanager
def naming(image_id: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EmbedshiftError) as error:
        raise EmbedshiftError(f"{image_id}: {cause(error)}; leave it out") from error


def probe_images() -> dict[str, bytes]:
    """Returns the files of the demo's photographs, and of eight made of them: two of 224 pixels need no resizing."""
    photos, turned = demo_photos(), Image.Exif()
    turned[ExifTags.Base.Orientation] = 6

    def made(
        name: str, box: Box, size: tuple[int, int], form: str = "JPEG", mode: str = "RGB", **settings: Any
    ) -> bytes:
        with Image.open(photos[name]) as photo:
            image = photo.convert("RGB").resize(size, Image.Resampling.LANCZOS, box).convert(mode)
        if mode == "RGBA":
            image.putalpha(Image.linear_gradient("L").resize(size))
        image.save(file := io.BytesIO(), form, quality=92, **settings)
        return file.getvalue()

    control = made("flower.jpg", (200, 20, 600, 420), (224, 224), "PNG")
    deep = np.array(Image.open(io.BytesIO(control)), np.uint16)[:180, :, ::-1] * 256
    return {name: path.read_bytes() for name, path in photos.items()} | {
        "turned.jpg": made("chelsea.png", (20, 0, 420, 300), (320, 240), exif=turned),
        "grey.jpg": made("rocket.jpg", (100, 0, 500, 400), (300, 300), mode="L"),
        "alpha.png": made("coffee.png", (40, 20, 520, 380), (320, 240), "PNG", "RGBA"),
        "cmyk.jpg": made("china.jpg", (60, 60, 560, 360), (320, 192), mode="CMYK"),
        # Its low bytes are what a decoder rounds or cuts off.
        "sixteen.png": cv2.imencode(".png", deep + np.arange(224, dtype=np.uint16)[:, None])[1].tobytes(),
        "odd.jpg": made("motorcycle_left.png", (50, 40, 651, 453), (301, 207)),
        "control-1.png": made("astronaut.png", (100, 0, 400, 300), (224, 224), "PNG"),
        "control-2.png": control,
    }


def varied(files: Sequence[bytes], most: int) -> list[int]:
    first: dict[Any, int] = {}
    for position, data in enumerate(files):
        with Image.open(io.BytesIO(data)) as image:
            coding = str(image.tile[0][3]) if image.tile else ""
            kind = image.format, image.mode, coding, image.getexif().get(ExifTags.Base.Orientation)
        first.setdefault(kind, position)
    return sorted([*dict.fromkeys([*first.values(), *range(len(files))])][:most])
