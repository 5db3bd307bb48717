"""Figures 3, 5, 6 and 8b: the profile of every augmentation over the paper's similarities."""

from embedshift.questions.profile import bars, heatmap, radar

__all__ = ["bars", "heatmap", "radar"]
