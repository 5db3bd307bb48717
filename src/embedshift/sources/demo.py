"""The photographs of scikit-image and scikit-learn: eight of them whole, and the pieces that the demo measures."""

import importlib.util
import shutil
from pathlib import Path

from PIL import Image

from embedshift.errors import MissingExtra

PHOTOS = {
    "skimage/data": "astronaut.png camera.png chelsea.png coffee.png motorcycle_left.png rocket.jpg",
    "sklearn/datasets/images": "china.jpg flower.jpg",
}
MORE = "cell.png clock_motion.png coins.png hubble_deep_field.jpg ihc.png moon.png page.png retina.jpg"


def demo_photos() -> dict[str, Path]:
    places = {name: importlib.util.find_spec(name.partition("/")[0]) for name in PHOTOS}
    if None in places.values():
        raise MissingExtra("the demo with its photographs", "offline")
    folders = {Path(str(spec.origin)).parents[1] / name: PHOTOS[name] for name, spec in places.items() if spec}
    return {name: folder / name for folder, names in folders.items() for name in names.split()}


def copy_photos(folder: Path) -> Path:
    photos = demo_photos()
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in photos.items():
        shutil.copyfile(path, folder / name)
    return folder


def cut_photos(folder: Path) -> Path:
    """Writes two quarters of each of sixteen photographs, which do not overlap, into a folder for each photograph."""
    photos = [*demo_photos().values()]
    for path in (*photos, *(photos[0].with_name(name) for name in MORE.split())):
        with Image.open(path) as photo:
            width, height = photo.width // 2, photo.height // 2
            (folder / path.stem).mkdir(parents=True, exist_ok=True)
            for name, left, top in (("upper-left", 0, 0), ("lower-right", width, height)):
                piece = photo.crop((left, top, left + width, top + height))
                piece.save(folder / path.stem / f"{name}.png", compress_level=1)
    return folder
