"""Augmentations: suites of them, what they draw by a seed, and where they move things."""

from embedshift.augmentations.paper import PAPER
from embedshift.augmentations.suite import ORIGINAL, SUITES, Augmentation, Suite, load_suite, rebuild_suite

__all__ = ["ORIGINAL", "PAPER", "SUITES", "Augmentation", "Suite", "load_suite", "rebuild_suite"]
