"""Draws matrices as colours."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from embedshift.arrays import Values
from embedshift.config import Json
from embedshift.figures.style import COLOUR_MAP, FAINT, INK, MUTED, column_names, contrast
from embedshift.statistics.clusters import branches


def cells(
    axes: Axes, values: Values, rows: Sequence[str], columns: Sequence[str], inches: float, **options: Any
) -> Any:
    """Draws a matrix with its names; a cell without a value is grey."""
    lowest = float(np.nanmin(values, initial=1.0))
    settings: Json = {"cmap": COLOUR_MAP, "vmin": lowest, "vmax": max(1.0, lowest + 1e-9), "linewidth": 0.8} | options
    written, size = settings.pop("written", ""), settings.pop("written_at", 8)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    mesh = axes.pcolormesh(np.ma.masked_invalid(values), edgecolor="white", **settings)
    axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0), facecolor=FAINT)
    mesh.update_scalarmappable()
    faces = np.asarray(mesh.get_facecolor()).reshape(*values.shape, 4)
    for cell in np.ndindex(*values.shape) if written else ():
        has_value = not np.isnan(values[cell])
        colour = max(INK, "white", key=lambda ink: contrast(ink, faces[cell])) if has_value else MUTED
        text = format(values[cell], written) if has_value else "n/a"
        place = cell[1] + 0.5, cell[0] + 0.5  # within the axes, so that it takes no room of its own
        axes.text(*place, text, ha="center", va="center", color=colour, fontsize=size, in_layout=False)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, rotation=0)
    axes.tick_params(axis="y", length=0)
    words, upright, _ = column_names(columns, inches)
    axes.set_xticks(np.arange(len(columns)) + 0.5, words, rotation=90 if upright else 0)
    axes.tick_params(axis="x", length=0)
    return mesh


def colour_bar(figure: Figure, mesh: Any, axes: Any, label: str, **options: Any) -> None:
    bar = figure.colorbar(mesh, ax=axes, label=label, pad=0.02, **options)
    bar.outline.set_visible(False)


def annotation(columns: int) -> Json:
    return {"written": ".3f" if columns <= 12 else ".2f", "written_at": 8 if columns <= 12 else 7}


def column_width(columns: int) -> float:
    return 0.85 if columns <= 12 else 0.45


def edge_tree(axes: Axes, linkage: Values | None, count: int, *, upright: bool) -> None:
    """Draws a tree whose leaves meet the middles of `count` cells; nothing without a linkage."""
    tree = None if linkage is None else branches(linkage)
    highest = 1.0 if tree is None else float(tree.heights.max()) or 1.0
    for positions, heights in () if tree is None else zip(tree.positions + 0.5, tree.heights, strict=True):
        axes.plot(*((positions, heights) if upright else (heights, positions)), color=INK, linewidth=1.1)
    if upright:
        axes.set(xlim=(0, count), ylim=(0, highest * 1.05))
    else:
        axes.set(ylim=(count, 0), xlim=(highest * 1.05, 0))
