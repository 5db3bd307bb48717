"""Matrices as colours."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from embedshift.arrays import Values
from embedshift.config import Json
from embedshift.figures.style import COLOUR_MAP, FAINT, INK, MUTED, column_names, contrast
from embedshift.statistics.clusters import branches


def cells(
    axes: Axes, values: Values, rows: Sequence[str], columns: Sequence[str], inches: float, **options: Any
) -> Any:
    """Draws a matrix with its names; a cell without a value is grey.

    Args:
        axes: Where.
        values: `[R, C]`.
        rows: Names as they are to be written.
        columns: Names of augmentations.
        inches: Width of a column.
        **options: Of `seaborn.heatmap`.
    """
    lowest = float(np.nanmin(values, initial=1.0))
    settings: Json = {
        "cmap": COLOUR_MAP,
        "vmin": lowest,
        "vmax": max(1.0, lowest + 1e-9),
        "linewidths": 0.8,
    } | options
    seaborn.heatmap(
        values,
        ax=axes,
        mask=np.isnan(values),
        xticklabels=False,
        yticklabels=False,
        cbar=False,
        linecolor="white",
        **settings,
    )
    # seaborn writes white on colours that black is easier to read on.
    for text, colour in zip(axes.texts, np.asarray(axes.collections[0].get_facecolor()), strict=False):
        text.set_color(max(INK, "white", key=lambda ink: contrast(ink, colour)))
    axes.set_facecolor(FAINT)
    for row, column in np.argwhere(np.isnan(values)) if settings.get("annot") else ():
        axes.text(column + 0.5, row + 0.5, "n/a", ha="center", va="center", color=MUTED, **settings["annot_kws"])
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, rotation=0)
    axes.tick_params(axis="y", length=0)
    words, upright, _ = column_names(columns, inches)
    axes.set_xticks(np.arange(len(columns)) + 0.5, words, rotation=90 if upright else 0)
    axes.tick_params(axis="x", length=0)
    return axes.collections[0]


def colour_bar(figure: Figure, mesh: Any, axes: Any, label: str, **options: Any) -> None:
    """The scale of colours, to the right."""
    bar = figure.colorbar(mesh, ax=axes, label=label, pad=0.02, **options)
    bar.outline.set_visible(False)


def annotation(columns: int) -> Json:
    """Options of `cells` that write every number."""
    return {
        "annot": True,
        "fmt": ".3f" if columns <= 12 else ".2f",
        "annot_kws": {"fontsize": 8 if columns <= 12 else 7},
    }


def column_width(columns: int) -> float:
    """Inches of a column."""
    return 0.85 if columns <= 12 else 0.45


def edge_tree(axes: Axes, linkage: Values | None, count: int, *, upright: bool) -> None:
    """A tree whose leaves meet the middles of `count` cells; nothing where there is no linkage."""
    tree = None if linkage is None else branches(linkage)
    highest = 1.0 if tree is None else float(tree.heights.max()) or 1.0
    for positions, heights in () if tree is None else zip(tree.positions + 0.5, tree.heights, strict=True):
        axes.plot(*((positions, heights) if upright else (heights, positions)), color=INK, linewidth=1.1)
    if upright:
        axes.set(xlim=(0, count), ylim=(0, highest * 1.05))
    else:
        axes.set(ylim=(count, 0), xlim=(highest * 1.05, 0))
