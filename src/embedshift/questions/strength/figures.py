"""Figures 16 and 17: relative shifts by strength for each family, and the tolerances of the encoder."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from embedshift.arrays import Pixels, Values
from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.figures.base import FigureInput, figure, has_table
from embedshift.figures.shared import level_axis, level_position, tolerance_mark
from embedshift.figures.style import FAINT, MUTED, human, new_figure
from embedshift.report.section import shrink
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.strengths import (
    RELATIVE_SHIFT,
    MeasuredFamily,
    axis_label,
    by_family,
    in_words,
    interval_in_words,
    parameter,
)
from embedshift.statistics.summary import COSINE

LINE, MARK = "#0072B2", "#D55E00"
COLUMNS = 3
# Inches of a panel, of its strip of images, and pixels of an image in it.
WIDTH, HEIGHT, THUMB = 3.1, 1.15, 96


@figure("strength", images=1, section=True, without_images=True, is_available=has_table("strength"))
def strength(data: FigureInput, title: str) -> Figure:
    families, rows = data.reader.families, curves(data)
    views = data.drawn[0].views if data.drawn else {}
    columns = min(COLUMNS, len(families))
    lines = -(-len(families) // columns)
    none = f"no interval below {LEAST_IMAGES} {data.group_word}s"
    interval = "95 % interval" if data.group_count >= LEAST_IMAGES else none
    note = f"mean relative shift, {interval}; levels at equal steps; dashed: relative shift {RELATIVE_SHIFT:g}"
    note += "; ring and heading: the tolerance"
    note += "; images: one example" if views else ""
    last = max(len(family.views) for family in families)
    strip = 0.87 * WIDTH / (1 + last) if views else 0.0
    drawn = new_figure(
        data.caption(note, every=True), WIDTH * columns + 0.4, (HEIGHT + strip + 0.6) * lines + 0.35, title
    )
    layout = drawn.get_layout_engine()
    assert isinstance(layout, ConstrainedLayoutEngine)
    layout.set(h_pad=0.03, hspace=0.0)
    grid = drawn.add_gridspec(lines, columns)
    # The highest mean decides, and not the end of a wide interval, beside which all curves would be flat.
    highest = max(0.15, *(float(np.nanmax(relative_shift, initial=0.0)) for relative_shift, *_ in rows.values()))
    tolerances = by_family(data.table("tolerance"))
    for index, family in enumerate(families):
        inner = grid[index // columns, index % columns].subgridspec(2, 1, height_ratios=(HEIGHT, max(strip, 1e-3)))
        axes, below = drawn.add_subplot(inner[0]), drawn.add_subplot(inner[1])
        _curve(axes, family, rows[family.name], tolerances.get(family.name))
        axes.set_ylim(min(0.0, *(float(np.nanmin(low, initial=0.0)) for _, low, _ in rows.values())), 1.1 * highest)
        _strip(below, family, views)
        for panel in (axes, below):
            panel.set_xlim(-0.5, last + 0.5)
    drawn.supylabel("relative shift (0 = unchanged, 1 = as far as another image)", fontsize=8)
    return drawn


def curves(data: FigureInput) -> dict[str, Values]:
    """Returns the relative shifts of each family and the ends of their intervals, 0 at level 0: `[3, 1 + levels]`."""
    parts = data.need("strength").filter(metric=COSINE).partition_by("family", as_dict=True)
    columns = ("relative_shift", "relative_shift_low", "relative_shift_high")
    numbers = {str(name): part.select(columns).fill_null(np.nan).to_numpy().T for (name,), part in parts.items()}
    return {name: np.pad(each, ((0, 0), (1, 0))) for name, each in numbers.items()}


def _curve(axes: Axes, family: MeasuredFamily, numbers: Values, tolerance_row: Json | None) -> None:
    relative_shift, low, high = numbers
    levels = np.arange(len(relative_shift))
    axes.axhline(RELATIVE_SHIFT, color=MUTED, linewidth=0.8, linestyle="--", zorder=1)
    axes.fill_between(levels, low, high, color=LINE, alpha=0.2, linewidth=0)
    axes.plot(levels, relative_shift, color=LINE, linewidth=1.4, marker="o", markersize=3, zorder=3)
    title = human(family.name)
    if tolerance_row is not None:
        title += f": {in_words(tolerance_row['value'], family.unit)}"
    if tolerance_row is not None and tolerance_row["reached"]:
        at = float(family.levels_at(tolerance_row["value"]))
        axes.vlines(at, 0, RELATIVE_SHIFT, color=MARK, linewidth=1.0, zorder=2)
        axes.plot(at, RELATIVE_SHIFT, marker="o", markersize=7, markerfacecolor="none", markeredgecolor=MARK, zorder=4)
    axes.set_title(title, fontsize=8)
    axes.set_xticks(levels, [parameter(value, family.unit) for value in family.strengths], fontsize=7)
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(axis="y", color=FAINT)


def _strip(axes: Axes, family: MeasuredFamily, views: Mapping[str, Pixels]) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    for level, name in enumerate((ORIGINAL, *family.views)):
        if name in views:
            axes.imshow(shrink(views[name], THUMB), extent=(level - 0.46, level + 0.46, -0.46, 0.46), aspect="auto")
    axes.set_ylim(-0.5, 0.5)
    axes.set_xlabel(axis_label(family.unit), fontsize=7, labelpad=2)


@figure("tolerance", section=True, is_available=has_table("tolerance"))
def tolerance(data: FigureInput, title: str) -> Figure:
    families = {family.name: family for family in data.reader.families}
    tolerances = by_family(data.table("tolerance")).values()
    rows = sorted(tolerances, key=lambda row: level_position(families[row["family"]], row["value"]))
    last = max(len(family.views) for family in families.values())
    note = f"dot: strength at which the mean relative shift reaches {RELATIVE_SHIFT:g}, hollow if the strongest level "
    note += "does not reach it; line: 95 % interval"
    drawn = new_figure(data.caption(note, every=True), 7.8, 1.1 + 0.26 * len(rows), title)
    axes = drawn.subplots()
    level_axis(axes, [human(row["family"]) for row in rows], last)
    for index, row in enumerate(rows):
        family = families[row["family"]]
        tolerance_mark(axes, index, family, (row["value"], row["low"], row["high"]), MARK)
        interval = interval_in_words(row["low"], row["high"], family.unit)
        words = in_words(row["value"], family.unit) + (f"  [{interval}]" if interval else "")
        axes.text(last + 0.25, index, words, va="center", fontsize=7.5)
    return drawn
