"""The images of a comparison: those of a user, or such as tell steps apart: the demo's photographs, and odd files."""

import importlib.util
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image

from embedshift.config import as_paths
from embedshift.errors import MissingExtra
from embedshift.sources import open_images
from embedshift.sources.base import storable

PHOTOS = {
    "skimage/data": "astronaut.png camera.png chelsea.png coffee.png motorcycle_left.png rocket.jpg",
    "sklearn/datasets/images": "china.jpg flower.jpg",
}
Box = tuple[int, int, int, int]


def demo_photos() -> dict[str, Path]:
    """Returns the files of eight photographs of scikit-image and scikit-learn."""
    places = {name: importlib.util.find_spec(name.partition("/")[0]) for name in PHOTOS}
    if None in places.values():
        raise MissingExtra("the photographs of the demo", "offline")
    folders = {Path(str(spec.origin)).parents[1] / name: PHOTOS[name] for name, spec in places.items() if spec}
    return {name: folder / name for folder, names in folders.items() for name in names.split()}


def copy_photos(folder: Path) -> Path:
    """Copies these photographs into `folder` and returns it."""
    photos = demo_photos()
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in photos.items():
        shutil.copyfile(path, folder / name)
    return folder


def read_images(images: Any, most: int) -> dict[str, bytes]:
    """Returns the files of images by their ids, of more than so many a sample; without images `probe_images`."""
    if not images:
        return probe_images()
    source, samples = open_images(as_paths(images), limit=None, sample=most, seed=0)
    return {storable(sample.image_id): source.read(sample) for sample in samples}


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
    """Returns the positions of at most so many files, one of each kind first."""
    first: dict[Any, int] = {}
    for position, data in enumerate(files):
        with Image.open(io.BytesIO(data)) as image:
            coding = str(image.tile[0][3]) if image.tile else ""
            kind = image.format, image.mode, coding, image.getexif().get(ExifTags.Base.Orientation)
        first.setdefault(kind, position)
    return sorted([*dict.fromkeys([*first.values(), *range(len(files))])][:most])
