"""Images that installed packages bring: eight photographs, and pieces of sixteen images that the demo measures."""

import importlib.util
import shutil
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from embedshift.errors import MissingExtra

PHOTOS = {
    "skimage/data": "astronaut.png camera.png chelsea.png coffee.png motorcycle_left.png rocket.jpg",
    "sklearn/datasets/images": "china.jpg flower.jpg",
}
MORE = {
    "skimage/data": "coins.png horse.png hubble_deep_field.jpg ihc.png logo.png page.png retina.jpg",
    "matplotlib/mpl-data/sample_data": "grace_hopper.jpg",
}


def demo_photos() -> dict[str, Path]:
    return _installed(PHOTOS)


def _installed(chosen: Mapping[str, str]) -> dict[str, Path]:
    places = {name: importlib.util.find_spec(name.partition("/")[0]) for name in chosen}
    if None in places.values():
        raise MissingExtra("the demo with its photographs", "offline")
    folders = {Path(str(spec.origin)).parents[1] / name: chosen[name] for name, spec in places.items() if spec}
    return {name: folder / name for folder, names in folders.items() for name in names.split()}


def copy_photos(folder: Path) -> Path:
    photos = demo_photos()
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in photos.items():
        shutil.copyfile(path, folder / name)
    return folder


def cut_photos(folder: Path) -> Path:
    """Writes two quarters of each of sixteen images, which do not overlap, into a folder for each."""
    for path in (_installed(PHOTOS) | _installed(MORE)).values():
        with Image.open(path) as photo:
            width, height = photo.width // 2, photo.height // 2
            (folder / path.stem).mkdir(parents=True, exist_ok=True)
            for name, left, top in (("upper-left", 0, 0), ("lower-right", width, height)):
                piece = photo.crop((left, top, left + width, top + height))
                piece.save(folder / path.stem / f"{name}.png", compress_level=1)
    return folder
