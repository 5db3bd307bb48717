"""The suite `strength`: families of changes, from barely visible to destructive."""

from embedshift.augmentations.augmentation import Augmentation, Choice
from embedshift.augmentations.family import family_augmentations
from embedshift.augmentations.strength import detail, occluders, tones, warps
from embedshift.augmentations.suite import SUITES

__all__ = ["detail", "occluders", "tones", "warps"]

# The order of tables and figures: the paper's nine without the flip, then the others.
STANDARD = (
    "noise", "blur", "color_jitter", "shift_scale_rotate", "elastic", "perspective", "brightness_contrast",
    "coarse_dropout", "rotation", "zoom_out", "translation", "crop", "jpeg", "downscale", "occlusion", "grey", "gamma",
    "hue", "flip",
)  # fmt: skip


def strength(choice: Choice) -> list[Augmentation]:
    """Returns eighteen families at five levels each, and the mirrored image."""
    return family_augmentations("strength", choice, STANDARD)


SUITES.add("strength", strength)
