"""Figures of the paper: each a function of tables that returns a matplotlib Figure and saves nothing.

Importing this registers them all in `FIGURES`, and imports no torch.
"""

from embedshift.figures import pictures, heatmaps, distributions, dendrogram, radar, bars, depth, attention_change  # noqa: F401, I001
from embedshift.figures.base import FIGURES, FigureInput, PaperFigure
from embedshift.figures.output import check_formats, draw, figure_input, iter_figures, save, save_figures

__all__ = [
    "FIGURES",
    "FigureInput",
    "PaperFigure",
    "check_formats",
    "draw",
    "figure_input",
    "iter_figures",
    "save",
    "save_figures",
]
