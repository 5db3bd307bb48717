"""Figures: shared functions to draw, save and find them. Importing this imports no torch.

Names are imported on first use, because a process that only renders needs none of them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedshift.figures.base import FIGURES, FigureInput, FigureKind, figure, has_table
    from embedshift.figures.output import check_formats, draw, iter_figures, save, save_figures, study_figures

__all__ = [
    "FIGURES",
    "FigureInput",
    "FigureKind",
    "check_formats",
    "draw",
    "figure",
    "has_table",
    "iter_figures",
    "save",
    "save_figures",
    "study_figures",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'embedshift.figures' has no attribute {name!r}")
    from embedshift.figures import base, output

    return vars(output).get(name) or vars(base)[name]
