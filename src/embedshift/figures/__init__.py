"""Figures of the paper: each a function of tables that returns a matplotlib Figure and saves nothing."""

from embedshift.figures.base import FIGURES, FigureInput, PaperFigure

__all__ = ["FIGURES", "FigureInput", "PaperFigure"]
