"""Rows of images with titles."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from embedshift.arrays import Floats, Pixels
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.figures.base import FigureInput
from embedshift.figures.output import ROWS
from embedshift.figures.style import FAINT, INK, human, new_figure, number, readable, verbatim, wrap
from embedshift.statistics.maps import scaled_map, upsample
from embedshift.store.redraw import RedrawnImage

# Inches of an image's side, and of the words above it per line.
_CELL, _WORDS = 0.95, 0.14


def drawn_images(data: FigureInput, name: str) -> tuple[RedrawnImage, ...]:
    """Returns the images that the figure `name` shows: at least one, and no more than fit on a page."""
    if not data.drawn:
        raise EmbedshiftError(
            f"figure '{name}': no image to show, because the source images are missing or none was chosen"
        )
    if len(data.drawn) > ROWS:
        raise UsageError(f"figure '{name}': {len(data.drawn)} images are too many; give at most {ROWS} per page")
    return data.drawn


def overlay(view: Pixels, values: Floats, *, signed: bool = False) -> Pixels:
    """Lays a map over a view: dark for the least value, bright for the greatest."""
    if signed:
        large = upsample(values, len(view))
        scaled = 0.5 + 0.5 * large / (np.abs(large).max() or 1.0)
    else:
        scaled = scaled_map(values, len(view))
    heat = matplotlib.colormaps["RdBu_r" if signed else "inferno"](scaled)[..., :3]
    grey = view.mean(axis=-1, keepdims=True) / 255
    return np.asarray(np.rint(255 * (0.45 * grey + 0.55 * heat)), np.uint8)


def page(
    data: FigureInput, title: str, note: str, rows: Sequence[Sequence[tuple[Pixels | None, str]]], *, columns: int
) -> Figure:
    """Images in rows of `columns`; a longer list of one image takes several rows."""
    lines = -(-len(rows[0]) // columns)
    words = max(wrap(human(name), _CELL, 7, bold=True).count("\n") + 2 for _, name in rows[0])
    height = len(rows) * lines * (_CELL + _WORDS * words + 0.06) + 0.25
    note = f"{note}; cos: cosine similarity with the original (1 = no change)"
    figure = new_figure(data.caption(note), (_CELL + 0.05) * columns + 0.35, height, title)
    grid = figure.subplots(len(rows) * lines, columns, squeeze=False)
    for index, (image, pictures) in enumerate(zip(data.drawn, rows, strict=True)):
        panels = grid[index * lines : (index + 1) * lines]
        panels[0, 0].set_ylabel(verbatim(data.reader.naming.image(image.image_id), 20), fontsize=6.5, visible=True)
        for axes, (picture, name) in zip(panels.flat, pictures, strict=False):
            _show(axes, picture, labelled=axes is panels[0, 0])
            cosine = image.metrics.get(name, {}).get("cosine_similarity")
            cosine_line = "" if name not in image.metrics else f"\ncos {number(np.nan if cosine is None else cosine)}"
            colour = readable(data.colours.get(name, INK))
            axes.set_title(
                wrap(human(name), _CELL, 7, bold=True) + cosine_line, fontsize=7, loc="center", color=colour, pad=3, y=1
            )
        for axes in panels.flat[len(pictures) :]:
            axes.set_axis_off()
    return figure


def _show(axes: Axes, picture: Pixels | None, *, labelled: bool) -> None:
    axes.set(xticks=[], yticks=[], facecolor=FAINT)
    axes.spines[:].set_visible(False)
    if picture is None:
        axes.set_aspect("equal")
        axes.text(0.5, 0.5, "n/a", ha="center", va="center", transform=axes.transAxes)
        return
    axes.imshow(picture)
    if not labelled:  # the picture covers it all, and without axis there is less to lay out and to draw
        axes.set_axis_off()
