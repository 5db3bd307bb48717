"""What figures of several questions share: matrices, rows of images, and tolerances."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from embedshift.arrays import Floats, Pixels, Values
from embedshift.config import Json
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.figures.base import FigureInput
from embedshift.figures.output import ROWS
from embedshift.figures.style import (
    COLOUR_MAP,
    FAINT,
    INK,
    MUTED,
    column_names,
    contrast,
    human,
    new_figure,
    number,
    readable,
    verbatim,
    wrap,
)
from embedshift.registry.extras import cv2
from embedshift.statistics.clusters import branches
from embedshift.statistics.maps import scaled_map, upsample
from embedshift.statistics.strengths import MeasuredFamily
from embedshift.store.redraw import RedrawnImage

# Inches of an image's side, of the words above it per line, and of the name at the left.
_CELL, _WORDS, _LABEL = 0.95, 0.14, 0.3


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
    lines = -(-len(rows[0]) // columns)
    words = max(wrap(human(name), _CELL, 7, bold=True).count("\n") + 2 for _, name in rows[0])
    across, down = _CELL + 0.05, _CELL + _WORDS * words + 0.06
    width, height = _LABEL + across * columns, down * lines * len(rows)
    note = f"{note}; cos: cosine similarity with the original (1 = no change)"
    figure = new_figure(data.caption(note), width + 0.05, height + 0.25, title)
    axes = figure.subplots()  # one for all images: axes of its own take longer than an image
    axes.set_axis_off()
    look: Json = {"ha": "center", "in_layout": False}
    for index, (image, pictures) in enumerate(zip(data.drawn, rows, strict=True)):
        first = _LABEL - 0.1, down * (index * lines + 1) - _CELL / 2
        label = verbatim(data.reader.naming.image(image.image_id), 20)
        axes.text(*first, label, rotation=90, va="center", fontsize=6.5, **look)
        for place, (picture, name) in enumerate(pictures):
            line, column = divmod(place, columns)
            left, top = _LABEL + across * column, down * (index * lines + line + 1) - _CELL
            _show(axes, picture, left, top)
            cosine = image.metrics.get(name, {}).get("cosine_similarity")
            cosine_line = "" if name not in image.metrics else f"\ncos {number(np.nan if cosine is None else cosine)}"
            heading, colour = wrap(human(name), _CELL, 7, bold=True), readable(data.colours.get(name, INK))
            above = left + _CELL / 2, top - 0.04
            axes.text(*above, heading + cosine_line, fontsize=7, fontweight="bold", color=colour, **look)
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    return figure


def _show(axes: Axes, picture: Pixels | None, left: float, top: float) -> None:
    if picture is None:
        axes.add_patch(Rectangle((left, top), _CELL, _CELL, color=FAINT, linewidth=0))
        axes.text(left + _CELL / 2, top + _CELL / 2, "n/a", ha="center", va="center", in_layout=False)
        return
    down, across = (_CELL * side / max(picture.shape) for side in picture.shape[:2])
    left, top = left + (_CELL - across) / 2, top + (_CELL - down) / 2
    # As `imshow`, but that the limits of the axes stay.
    image = _Image(axes, extent=(left, left + across, top + down, top))
    image.set_data(picture)
    image.set_clip_path(axes.patch)
    axes.add_image(image)


class _Image(AxesImage):
    """An RGB image in bytes, scaled by OpenCV by areas: Matplotlib scales in float64, with four channels."""

    def make_image(self, renderer: Any, magnification: float = 1.0, unsampled: bool = False) -> Any:
        left, right, bottom, top = self.get_extent()
        ends = magnification * self.get_transform().transform([(left, bottom), (right, top)])
        (x0, y0), (x1, y1) = np.floor(ends + 0.5).astype(int)
        size = max(1, x1 - x0), max(1, y1 - y0)
        scaled = cv2.resize(np.asarray(self.get_array()), size, interpolation=cv2.INTER_AREA)
        # Rows come from below.
        pixels = np.dstack([scaled[::-1], np.full(scaled.shape[:2], 255, np.uint8)])
        return pixels, x0 / magnification, y0 / magnification, None


def level_position(family: MeasuredFamily, value: float | None) -> float:
    return np.inf if value is None else float(family.levels_at(value))


def tolerance_mark(
    axes: Axes, row: float, family: MeasuredFamily, ends: tuple[float | None, float | None, float | None], colour: str
) -> None:
    """Draws one tolerance; its line goes to the strongest level if its end lies beyond; an open dot = not reached."""
    value, *interval = (level_position(family, end) for end in ends)
    strongest = float(len(family.views))
    if np.isfinite(interval).any():
        axes.hlines(row, min(interval), min(max(interval), strongest), color=colour, linewidth=1.4, zorder=2)
    face = colour if np.isfinite(value) else "white"
    position = min(value, strongest)
    axes.scatter(position, row, s=26, facecolors=face, edgecolors=colour, zorder=3, clip_on=False)


def name_rows(axes: Axes, names: Sequence[str], below: float = 0.4) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - below, -0.6)


def level_axis(axes: Axes, rows: list[str], last: int) -> None:
    name_rows(axes, rows, below=0.5)
    axes.set_xlim(-0.05, last + 0.05)
    axes.set_xticks(range(last + 1))
    axes.grid(axis="x", color=FAINT)
    axes.set_xlabel("level of the family (0 = unchanged)")
