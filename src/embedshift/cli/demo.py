"""The photographs of scikit-image and scikit-learn, as a folder for the demo."""

import importlib.util
import shutil
from pathlib import Path

from embedshift.errors import MissingExtra

PHOTOS = {
    "skimage": (
        "data",
        ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg"),
    ),
    "sklearn": ("datasets/images", ("china.jpg", "flower.jpg")),
}


def copy_photos(folder: Path) -> Path:
    """Copies eight photographs into `folder` and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for package, (place, names) in PHOTOS.items():
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtra("the demo", "offline")
        for name in names:
            shutil.copyfile(Path(spec.submodule_search_locations[0]) / place / name, folder / name)
    return folder
