"""Figure 2: one image through the pipeline, from its views to the metrics that compare them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from embedshift.arrays import Pixels, Values
from embedshift.augmentations import ORIGINAL
from embedshift.errors import EmbedshiftError
from embedshift.figures.base import FigureInput, figure
from embedshift.figures.images import drawn_images, overlay
from embedshift.figures.style import FAINT, INK, MUTED, human, new_figure, number, readable, verbatim, wrap
from embedshift.registry import METRICS
from embedshift.statistics.summary import PAPER_METRICS
from embedshift.store.redraw import RedrawnImage

# Inches: the side of a panel, between columns, between both rows, at the left, and above the upper row.
SIDE, ACROSS, DOWN, LEFT, ABOVE = 1.45, 0.34, 0.8, 0.12, 0.54
# Views that are shown small, in rows of equal length.
SMALL = 16
WORDS = 7.0


@dataclass(frozen=True)
class Column:
    """What one step makes of the original and of a view, and what the metrics that compare both need."""

    title: str
    panels: Sequence[Pixels | None]
    needs: str
    cells: Sequence[int] = ()


def is_redrawable(data: FigureInput) -> bool:
    """Whether views are drawn again; those of a callable of the user are not."""
    return any("callable" not in data.reader.info.identity["augmentations"][name] for name in data.augmentations)


@figure("pipeline", images=1, single=True, shows_attention=True, is_available=is_redrawable)
def pipeline(data: FigureInput, title: str) -> Figure:
    """Columns: the image and its views, patches, attention and embedding; between both rows the metrics."""
    image = drawn_images(data, "pipeline")[0]
    names = [name for name in data.by_shift() if name in image.views and name in image.metrics]
    if not names:
        raise EmbedshiftError("figure 'pipeline': none of its views can be drawn again")
    view = names[len(names) // 2]
    steps = _steps(data, image, view)
    name = verbatim(data.reader.naming.image(image.image_id))
    note = (
        f"{name}; framed: the view whose augmentation has the median mean shift; no change is 1 (L2: 0); "
        "each attention map has its own scale; embedding: blue below 0, red above"
    )
    width, height = LEFT + (1 + len(steps)) * (SIDE + ACROSS) - ACROSS + LEFT, ABOVE + 2 * SIDE + DOWN + 0.1
    drawn = new_figure(data.caption(note), width, height, title)
    drawn.set_layout_engine("none")
    upper = drawn.get_figheight() - ABOVE - SIDE
    lower = upper - DOWN - SIDE
    _original_and_views(drawn, image, data, view, (LEFT, upper, lower))
    for index, step in enumerate(steps, start=1):
        left = LEFT + index * (SIDE + ACROSS)
        for bottom, picture in zip((upper, lower), step.panels, strict=True):
            axes = _panel(drawn, left, bottom, picture)
            _cut(axes, picture, step.cells)
            _arrow(drawn, (left - ACROSS, bottom + SIDE / 2), (left, bottom + SIDE / 2))
        _words(drawn, left + SIDE / 2, upper + SIDE + 0.05, step.title, ha="center", va="bottom", fontweight="bold")
        _arrow(drawn, (left + 0.1, upper), (left + 0.1, lower + SIDE), "<|-|>")
        compared = [name for name in PAPER_METRICS if name in METRICS and METRICS[name].needs == step.needs]
        values = {METRICS[name].label: image.metrics[view].get(name) for name in compared}
        lines = [f"{label} {number(value)}" for label, value in values.items() if value is not None]
        _words(drawn, left + 0.22, upper - DOWN / 2, "\n".join(lines), va="center", linespacing=1.5)
    return drawn


def _steps(data: FigureInput, image: RedrawnImage, view: str) -> list[Column]:
    """Returns the columns after the first: patches if their grid is known, attention if there is any, embedding."""
    both, encoder = (ORIGINAL, view), data.reader.info.encoder
    grid = encoder.grid or ()
    patches = f"{grid[0]} × {grid[1]} patches" if grid else "input of the encoder"
    steps = [Column(patches, [image.views[name] for name in both], "pixels", grid)]
    if all(name in image.attention for name in both):
        overlays = [overlay(image.views[name], image.attention[name]) for name in both]
        steps.append(Column("attention", overlays, "attention"))
    cells = _embedding_cells(data, image.image_id, both)
    return [*steps, Column(f"embedding, {encoder.dim:,} numbers", cells, "embedding")]


def _embedding_cells(data: FigureInput, image_id: str, names: Sequence[str]) -> list[Pixels | None]:
    """Returns each embedding as cells, one per number, on one scale; None where embeddings are not stored."""
    if not data.reader.info.has_vectors:
        return [None for _ in names]
    rows = data.rows.filter((pl.col("image_id") == image_id) & (pl.col("draw") == 0) & pl.col("view").is_in(names))
    stored = dict(rows.select("view", "embedding").collect().iter_rows())
    vectors = np.array([stored[name] for name in names], np.float64)
    side = int(np.ceil(np.sqrt(vectors.shape[1])))
    cells = np.zeros((len(names), side * side))
    cells[:, : vectors.shape[1]] = vectors / (np.abs(vectors).max() or 1.0)
    colours: Values = matplotlib.colormaps["RdBu_r"](0.5 + cells / 2)[..., :3]
    colours[:, vectors.shape[1] :] = 1.0
    return list(np.rint(255 * colours).astype(np.uint8).reshape(len(names), side, side, 3))


def _original_and_views(
    drawn: Figure, image: RedrawnImage, data: FigureInput, view: str, place: tuple[float, float, float]
) -> None:
    """Draws the original, and below it its views, with a frame around the one that the other columns follow."""
    left, upper, lower = place
    _panel(drawn, left, upper, image.views[ORIGINAL])
    _words(drawn, left + SIDE / 2, upper + SIDE + 0.05, "original", ha="center", va="bottom", fontweight="bold")
    names = [name for name in data.augmentations if name in image.views]
    names = names[:SMALL] if view in names[:SMALL] else [*names[: SMALL - 1], view]
    across = int(np.ceil(np.sqrt(len(names))))
    side = SIDE / across
    for index, name in enumerate(names):
        row, column = divmod(index, across)
        place_of = left + column * side, lower + SIDE - (row + 1) * side
        axes = _panel(drawn, *place_of, image.views[name], side=0.94 * side)
        if name == view:
            for spine in axes.spines.values():
                spine.set(visible=True, edgecolor=data.colours[name], linewidth=2.2)
    _arrow(drawn, (left + 0.1, upper), (left + 0.1, lower + SIDE))
    count = f"{len(data.augmentations)} augmentation{'s' if len(data.augmentations) > 1 else ''}"
    lines = f"{count}; framed:\n{wrap(human(view), SIDE - 0.1, WORDS, bold=True)}"
    _words(drawn, left + 0.22, upper - DOWN / 2, lines, va="center", color=readable(data.colours[view]))


def _panel(drawn: Figure, left: float, bottom: float, picture: Pixels | None, side: float = SIDE) -> Axes:
    width, height = drawn.get_size_inches()
    axes = drawn.add_axes((left / width, bottom / height, side / width, side / height))
    axes.set(xticks=[], yticks=[], facecolor=FAINT)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if picture is None:
        axes.text(0.5, 0.5, "not stored", ha="center", va="center", transform=axes.transAxes)
    else:
        axes.imshow(picture, interpolation="nearest" if len(picture) < 100 else None)
    return axes


def _cut(axes: Axes, picture: Pixels | None, cells: Sequence[int]) -> None:
    """Draws the borders of patches `[rows, columns]` over a picture."""
    if picture is None or not cells:
        return
    for count, length, line in zip(cells, picture.shape[:2], (axes.axhline, axes.axvline), strict=True):
        for border in np.linspace(0, length, count + 1)[1:-1]:
            line(float(border) - 0.5, color="white", linewidth=min(1.2, 0.13 * 72 * SIDE / count))


def _arrow(drawn: Figure, start: tuple[float, float], end: tuple[float, float], style: str = "-|>") -> None:
    drawn.add_artist(
        FancyArrowPatch(
            start, end, transform=drawn.dpi_scale_trans, arrowstyle=style, mutation_scale=9, color=MUTED, shrinkA=3,
            shrinkB=3, linewidth=1.0,
        )
    )  # fmt: skip


def _words(drawn: Figure, x: float, y: float, text: str, **how: Any) -> None:
    settings: dict[str, Any] = {"fontsize": WORDS, "color": INK} | how
    drawn.text(x, y, text, transform=drawn.dpi_scale_trans, **settings)
