"""The photographs of scikit-image and scikit-learn: eight of them whole, and the pieces that the demo measures."""

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

from embedshift.errors import MissingExtra

PHOTOS = {
    "skimage": ("data", "astronaut.png camera.png chelsea.png coffee.png motorcycle_left.png rocket.jpg"),
    "sklearn": ("datasets/images", "china.jpg flower.jpg"),
}
MORE = "brick.png coins.png grass.png gravel.png hubble_deep_field.jpg ihc.png moon.png retina.jpg"


def copy_photos(folder: Path) -> Path:
    """Copies eight photographs into `folder` and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in _photos():
        shutil.copyfile(path, folder / path.name)
    return folder


def cut_photos(folder: Path) -> Path:
    """Writes two quarters of each of sixteen photographs, which do not overlap, into a folder for each photograph."""
    from PIL import Image

    photos = [*_photos()]
    for path in (*photos, *(photos[0].with_name(name) for name in MORE.split())):
        with Image.open(path) as photo:
            width, height = photo.width // 2, photo.height // 2
            (folder / path.stem).mkdir(parents=True, exist_ok=True)
            for name, left, top in (("upper-left", 0, 0), ("lower-right", width, height)):
                piece = photo.crop((left, top, left + width, top + height))
                piece.save(folder / path.stem / f"{name}.png", compress_level=1)
    return folder


def _photos() -> Iterator[Path]:
    for package, (directory, names) in PHOTOS.items():
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtra("the demo", "offline")
        yield from (Path(spec.submodule_search_locations[0]) / directory / name for name in names.split())
