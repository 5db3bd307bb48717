"""Augmentations and suites, their seeded views, and the geometry of views."""

from embedshift.augmentations import copies, corruptions, everyday, strength, style
from embedshift.augmentations.augmentation import ORIGINAL, Augmentation, Choice
from embedshift.augmentations.paper import PAPER
from embedshift.augmentations.suite import SUITES, VIEWS, Suite, load_suite, rebuild_suite
from embedshift.augmentations.variant import Purified, Variant, with_purified

__all__ = [
    "ORIGINAL",
    "PAPER",
    "SUITES",
    "VIEWS",
    "Augmentation",
    "Choice",
    "Purified",
    "Suite",
    "Variant",
    "copies",
    "corruptions",
    "everyday",
    "load_suite",
    "rebuild_suite",
    "strength",
    "style",
    "with_purified",
]
