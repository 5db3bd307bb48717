"""Writes views.npz anew, for when the suite changes on purpose: python tests/augmentations/golden/make.py."""

from pathlib import Path

import numpy as np

from embedshift import make_views

PATH = Path(__file__).with_name("views.npz")
STORED = ("color_jitter", "shift_scale_rotate", "elastic", "perspective")


def made_picture(size: int) -> np.ndarray:
    """A picture of integer arithmetic alone, equal on every machine: slopes, so that a tiny shift is a tiny change."""
    y, x = np.mgrid[:size, :size]
    slopes = ((11, 5, 0), (4, 13, 90), (9, -10, 200))
    return np.stack([np.abs((a * x + b * y + c) % 510 - 255) for a, b, c in slopes], axis=-1).astype(np.uint8)


def stored_views() -> dict[str, np.ndarray]:
    views = make_views(made_picture(64), image_id="made.png", size=64)
    return {name: views[name] for name in STORED}


if __name__ == "__main__":
    np.savez_compressed(PATH, **stored_views())
