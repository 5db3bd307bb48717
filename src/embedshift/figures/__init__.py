"""Figures: what the questions share to draw them, to save them, and to find them. Importing this imports no torch."""

from embedshift.figures.base import FIGURES, FigureInput, FigureKind, figure, has_table
from embedshift.figures.output import check_formats, draw, figures_of, iter_figures, save, save_figures

__all__ = [
    "FIGURES",
    "FigureInput",
    "FigureKind",
    "check_formats",
    "draw",
    "figure",
    "figures_of",
    "has_table",
    "iter_figures",
    "save",
    "save_figures",
]
