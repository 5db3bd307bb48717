"""Writes views.npz and strength.npz anew, for when a suite changes on purpose: run this file."""

from pathlib import Path

import numpy as np

from embedshift import make_views

PATH = Path(__file__).with_name("views.npz")
STORED = ("color_jitter", "shift_scale_rotate", "elastic", "perspective")
# Families of the suite `strength`, of which level 3 is stored.
STRENGTH = (
    "color_jitter", "shift_scale_rotate", "elastic", "perspective", "rotation", "zoom_out", "translation", "crop",
    "jpeg", "downscale", "grey", "hue",
)  # fmt: skip


def made_picture(size: int) -> np.ndarray:
    """A picture of integer arithmetic alone, equal on every machine: slopes, so that a tiny shift is a tiny change."""
    y, x = np.mgrid[:size, :size]
    slopes = ((11, 5, 0), (4, 13, 90), (9, -10, 200))
    return np.stack([np.abs((a * x + b * y + c) % 510 - 255) for a, b, c in slopes], axis=-1).astype(np.uint8)


def stored_views() -> dict[str, np.ndarray]:
    views = make_views(made_picture(64), image_id="made.png", size=64)
    return {name: views[name] for name in STORED}


def strength_views(level: int = 3) -> dict[str, np.ndarray]:
    made = made_picture(64)
    views = make_views(made, image_id="made.png", size=64, augmentations="strength", families=STRENGTH)
    return {name: views[f"{name}@{level}"] for name in STRENGTH}


if __name__ == "__main__":
    np.savez_compressed(PATH, **stored_views())
    np.savez_compressed(PATH.with_name("strength.npz"), **strength_views())
