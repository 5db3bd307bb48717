"""Writes corruptions.npz anew, for when they change on purpose: python make_corruptions.py, in this folder."""

from pathlib import Path

import numpy as np

from embedshift import make_views
from embedshift.augmentations import load_suite

PATH = Path(__file__).with_name("corruptions.npz")
STORED = (
    "shot_noise@3", "defocus_blur@3", "glass_blur@3", "motion_blur@3", "zoom_blur@3", "snow@3", "fog@3",
    "elastic_transform@3", "jpeg_compression@3", "gaussian_blur@3", "spatter@3", "spatter@5",
)  # fmt: skip
FAMILIES = tuple(dict.fromkeys(name.split("@")[0] for name in STORED))


def stored_views(picture: np.ndarray, image_id: str = "made.png") -> dict[str, np.ndarray]:
    views = make_views(picture, image_id=image_id, size=len(picture), augmentations="corruptions", families=FAMILIES)
    assert set(load_suite("corruptions", families=FAMILIES).names) > set(STORED)
    return {name: views[name] for name in STORED}


if __name__ == "__main__":
    from make import made_picture

    np.savez_compressed(PATH, **stored_views(made_picture(64)))
