"""Figures: shared functions to draw, save and find them. Importing this imports no torch."""

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
