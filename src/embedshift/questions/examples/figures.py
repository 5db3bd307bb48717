"""Figures 2 and 4a: one image through the pipeline, from its views to their metrics, and its augmented views."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from embedshift.arrays import Pixels, Values
from embedshift.augmentations import ORIGINAL
from embedshift.errors import EmbedshiftError
from embedshift.figures.base import FigureInput, figure
from embedshift.figures.shared import drawn_images, overlay, page
from embedshift.figures.style import FAINT, INK, MUTED, human, new_figure, number, readable, verbatim, wrap
from embedshift.registry import METRICS
from embedshift.statistics.summary import PAPER_METRICS
from embedshift.store.redraw import RedrawnImage

# Inches: the side of a panel, between columns, between both rows, at the left, and above the upper row.
SIDE, ACROSS, DOWN, LEFT, ABOVE = 1.45, 0.34, 0.8, 0.12, 0.54
# A title, the pictures of original and view, what their metrics need, and rows and columns of patches.
Step = tuple[str, Sequence[Pixels | None], str, Sequence[int]]


def is_redrawable(data: FigureInput) -> bool:
    made = (data.reader.info.identity["augmentations"][name] for name in data.augmentations)
    return any("callable" not in one and one.get("hash") != "" for one in made)


@figure("pipeline", images=1, single=True, shows_attention=True, is_available=is_redrawable)
def pipeline(data: FigureInput, title: str) -> Figure:
    image = drawn_images(data, "pipeline")[0]
    names = [name for name in data.by_shift() if name in image.views and name in image.metrics]
    if not names:
        raise EmbedshiftError("figure 'pipeline': none of its views can be drawn again")
    view = names[len(names) // 2]
    steps = _steps(data, image, (ORIGINAL, view))
    width, height = 2 * LEFT + SIDE + len(steps) * (SIDE + ACROSS), ABOVE + 2 * SIDE + DOWN + 0.1
    notes = ["framed: the view whose augmentation has the median mean shift", "no change is 1 (L2: 0)"]
    notes += ["each attention map has its own scale"] if len(steps) > 2 else []
    name = verbatim(data.reader.naming.image(image.image_id))
    caption = data.caption(name, *notes, "embedding: blue below 0, red above")
    drawn = new_figure(caption, width, height, title)
    drawn.set_layout_engine("none")
    upper = drawn.get_figheight() - ABOVE - SIDE
    lower = upper - DOWN - SIDE
    _original_and_views(drawn, image, data, view, (LEFT, upper, lower))
    for index, (heading, pictures, needs, cells) in enumerate(steps, start=1):
        left = LEFT + index * (SIDE + ACROSS)
        for bottom, picture in zip((upper, lower), pictures, strict=True):
            _panel(drawn, left, bottom, picture, cells=cells)
            _arrow(drawn, (left - ACROSS, bottom + SIDE / 2), (left, bottom + SIDE / 2))
        _heading(drawn, left, upper, heading)
        _arrow(drawn, (left + 0.1, upper), (left + 0.1, lower + SIDE), "<|-|>")
        compared = [name for name in PAPER_METRICS if name in METRICS and METRICS[name].needs == needs]
        values = {METRICS[name].label: image.metrics[view].get(name) for name in compared}
        lines = [f"{label} {number(value)}" for label, value in values.items() if value is not None]
        _words(drawn, left + 0.22, upper - DOWN / 2, "\n".join(lines), linespacing=1.5)
    return drawn


def _steps(data: FigureInput, image: RedrawnImage, both: Sequence[str]) -> list[Step]:
    """Returns the columns after the first: patches if their grid is known, attention if there is any, embedding."""
    encoder = data.reader.info.encoder
    grid = encoder.grid or ()
    patches = f"{grid[0]} × {grid[1]} patches" if grid else "input of the encoder"
    steps: list[Step] = [(patches, [image.views[name] for name in both], "pixels", grid)]
    if all(name in image.attention for name in both):
        steps += [("attention", [overlay(image.views[n], image.attention[n]) for n in both], "attention", ())]
    cells = _embedding_cells(data, image.image_id, both) if data.reader.info.has_vectors else [None, None]
    return [*steps, (f"embedding, {encoder.dim:,} numbers", cells, "embedding", ())]


def _embedding_cells(data: FigureInput, image_id: str, names: Sequence[str]) -> Sequence[Pixels]:
    rows = data.rows.filter((pl.col("image_id") == image_id) & (pl.col("draw") == 0) & pl.col("view").is_in(names))
    stored = dict(rows.select("view", "embedding").collect().iter_rows())
    vectors = np.array([stored[name] for name in names], np.float64)
    side = int(np.ceil(np.sqrt(vectors.shape[1])))
    cells = np.pad(vectors / (np.abs(vectors).max() or 1.0), ((0, 0), (0, side**2 - vectors.shape[1])))
    colours: Values = matplotlib.colormaps["RdBu_r"](0.5 + cells / 2)[..., :3]
    colours[:, vectors.shape[1] :] = 1.0
    return list(np.rint(255 * colours).astype(np.uint8).reshape(len(names), side, side, 3))


def _original_and_views(
    drawn: Figure, image: RedrawnImage, data: FigureInput, view: str, place: tuple[float, float, float]
) -> None:
    left, upper, lower = place
    _panel(drawn, left, upper, image.views[ORIGINAL])
    _heading(drawn, left, upper, "original")
    names = [name for name in data.augmentations if name in image.views]
    across = int(np.ceil(np.sqrt(len(names))))
    side = SIDE / across
    for index, name in enumerate(names):
        row, column = divmod(index, across)
        colour = data.colours[name] if name == view else ""
        _panel(drawn, left + column * side, lower + SIDE - (row + 1) * side, image.views[name], 0.94 * side, colour)
    _arrow(drawn, (left + 0.1, upper), (left + 0.1, lower + SIDE))
    count = f"{len(data.augmentations)} augmentation{'s' if len(data.augmentations) > 1 else ''}"
    lines = f"{count}; framed:\n{wrap(human(view), SIDE - 0.1, 7, bold=True)}"
    _words(drawn, left + 0.22, upper - DOWN / 2, lines, color=readable(data.colours[view]))


def _panel(
    drawn: Figure,
    left: float,
    bottom: float,
    picture: Pixels | None,
    side: float = SIDE,
    frame: str = "",
    cells: Sequence[int] = (),
) -> None:
    width, height = drawn.get_size_inches()
    axes = drawn.add_axes((left / width, bottom / height, side / width, side / height))
    axes.set(xticks=[], yticks=[], facecolor=FAINT)
    for spine in axes.spines.values():
        spine.set(visible=bool(frame), edgecolor=frame or INK, linewidth=2.2)
    if picture is None:
        axes.text(0.5, 0.5, "not stored", ha="center", va="center", transform=axes.transAxes)
        return
    axes.imshow(picture, interpolation="nearest" if len(picture) < 100 else None)
    if not frame:
        axes.set_axis_off()
    for count, length, line in zip(cells, picture.shape, (axes.axhline, axes.axvline), strict=False):
        for border in np.linspace(0, length, count + 1)[1:-1]:
            line(float(border) - 0.5, color="white", linewidth=min(1.2, 0.13 * 72 * side / count))


def _arrow(drawn: Figure, start: tuple[float, float], end: tuple[float, float], style: str = "-|>") -> None:
    look: dict[str, Any] = {"arrowstyle": style, "mutation_scale": 9, "color": MUTED, "shrinkA": 3, "shrinkB": 3}
    drawn.add_artist(FancyArrowPatch(start, end, transform=drawn.dpi_scale_trans, **look))


def _heading(drawn: Figure, left: float, bottom: float, text: str) -> None:
    _words(drawn, left + SIDE / 2, bottom + SIDE + 0.05, text, ha="center", va="bottom", fontweight="bold")


def _words(drawn: Figure, x: float, y: float, text: str, **how: Any) -> None:
    settings: dict[str, Any] = {"fontsize": 7, "color": INK, "va": "center"} | how
    drawn.text(x, y, text, transform=drawn.dpi_scale_trans, **settings)


@figure("views", images=1)
def views(data: FigureInput, title: str) -> Figure:
    names = [ORIGINAL, *data.augmentations]
    rows = [[(image.views.get(name), name) for name in names] for image in drawn_images(data, "views")]
    columns = len(names) if len(names) <= 10 else -(-len(names) // 2)
    return page(data, title, "views as the encoder sees them", rows, columns=columns)
