"""Writes the arrays and hashes of this folder anew, for when views of a suite change on purpose: run this file."""

import functools
import hashlib
import json
from pathlib import Path

import numpy as np

from embedshift import make_views

FOLDER = Path(__file__).parent
# Suite → its views that filter, interpolate or convert colours: they differ by a few levels between processors.
STORED = {
    "paper": ("color_jitter", "shift_scale_rotate", "elastic", "perspective"),
    "strength": (
        "color_jitter@3", "shift_scale_rotate@3", "elastic@3", "perspective@3", "rotation@3", "zoom_out@3",
        "translation@3", "crop@3", "jpeg@3", "downscale@3", "grey@3", "hue@3",
    ),
    "corruptions": (
        "shot_noise@3", "defocus_blur@3", "glass_blur@3", "motion_blur@3", "zoom_blur@3", "snow@3", "fog@3",
        "elastic_transform@3", "jpeg_compression@3", "gaussian_blur@3", "spatter@3", "spatter@5",
    ),
    "style": ("stylization", "smooth", "pencil", "pencil_colour", "clahe", "superpixels"),
}  # fmt: skip
# Those that work with whole numbers: equal on every processor. A family of `strength` stands for all its levels.
HASHED = {
    "paper": ("noise", "blur", "horizontal_flip", "brightness_contrast", "coarse_dropout"),
    "strength": ("noise", "blur", "brightness_contrast", "coarse_dropout", "occlusion", "gamma", "flip"),
    "corruptions": (
        "gaussian_noise@3", "impulse_noise@3", "speckle_noise@3", "brightness@3", "contrast@3", "saturate@4",
        "pixelate@3",
    ),
    "style": ("posterize", "solarize", "negative"),
}  # fmt: skip


def made_picture(size: int) -> np.ndarray:
    """A picture of integer arithmetic alone, equal on every machine: slopes, so that a tiny shift is a tiny change."""
    y, x = np.mgrid[:size, :size]
    slopes = ((11, 5, 0), (4, 13, 90), (9, -10, 200))
    return np.stack([np.abs((a * x + b * y + c) % 510 - 255) for a, b, c in slopes], axis=-1).astype(np.uint8)


@functools.cache
def views(suite: str, names: tuple[str, ...], size: int = 64, image_id: str = "made.png") -> dict[str, np.ndarray]:
    """The views of the picture by their names, and those of the same families."""
    families = dict.fromkeys(name.split("@")[0] for name in names)
    chosen = {"families": tuple(families)} if suite in ("strength", "corruptions") else {}
    return make_views(made_picture(size), image_id=image_id, size=size, augmentations=suite, **chosen)


def digest(suite: str, name: str) -> str:
    """sha256 of the view of that name, or of those of a family, at 224 pixels."""
    found = [view for key, view in views(suite, (name,), 224).items() if key == name or key.startswith(f"{name}@")]
    return hashlib.sha256(b"".join(view.tobytes() for view in found)).hexdigest()


if __name__ == "__main__":
    hashes = {suite: {name: digest(suite, name) for name in names} for suite, names in HASHED.items()}
    (FOLDER / "hashes.json").write_text(json.dumps(hashes, indent=1) + "\n")
    for suite, names in STORED.items():
        np.savez_compressed(FOLDER / f"{suite}.npz", **{name: views(suite, names)[name] for name in names})
