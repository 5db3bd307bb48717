"""Writes style.npz anew, for when a style changes on purpose: python tests/augmentations/golden/make_style.py."""

from pathlib import Path

import numpy as np
from make import made_picture

from embedshift import make_views

PATH = Path(__file__).with_name("style.npz")
# What is filtered in floating-point numbers: a few grey levels differ between processors.
STORED = ("stylization", "smooth", "pencil", "pencil_colour", "clahe", "superpixels")


def stored_styles() -> dict[str, np.ndarray]:
    views = make_views(made_picture(64), image_id="made.png", size=64, augmentations="style")
    return {name: views[name] for name in STORED}


if __name__ == "__main__":
    np.savez_compressed(PATH, **stored_styles())
