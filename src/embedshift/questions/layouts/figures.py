"""Figure 31: recall@1 of each layout, by the strength of each family, or by augmentation."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from embedshift.figures.base import FigureInput, figure, has_table
from embedshift.figures.style import FAINT, PALETTE, human, new_figure
from embedshift.questions.layouts.tables import ALL, RECALL
from embedshift.statistics.strengths import MeasuredFamily, axis_label, parameter
from embedshift.statistics.vector_layouts import LAYOUTS

COLOURS = dict(zip(LAYOUTS, PALETTE, strict=False))
# Families that are shown, one panel each, and panels side by side.
SHOWN, COLUMNS = 9, 3


@figure("layouts", section=True, is_available=has_table("layouts"))
def layouts(data: FigureInput, title: str) -> Figure:
    rows = data.need("layouts").filter(metric=RECALL).drop_nulls("value")
    families = [family for family in data.reader.families if family.has_strength][:SHOWN]
    if not families:
        return _by_augmentation(data, rows.filter(pl.col("augmentation") != ALL), title)
    columns = min(COLUMNS, len(families))
    lines = -(-len(families) // columns)
    note = "recall@1 of each layout among its own vectors; band: 95 % interval"
    drawn = new_figure(data.caption(note, every=True), 3.4 * columns + 1.2, 2.4 * lines + 0.3, title)
    panels = drawn.subplots(lines, columns, squeeze=False, sharey=True)
    for axes, family in zip(panels.ravel(), families, strict=False):
        _curves(axes, family, rows.filter(family=family.name))
    for axes in panels.ravel()[len(families) :]:
        axes.set_visible(False)
    drawn.supylabel("recall@1", fontsize=8)
    drawn.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right upper")
    return drawn


def _curves(axes: Axes, family: MeasuredFamily, rows: pl.DataFrame) -> None:
    for layout in rows["layout"].unique(maintain_order=True):
        part = rows.filter(layout=layout).sort("level")
        numbers = part.select("parameter", "value", "ci_low", "ci_high").fill_null(np.nan).to_numpy().T
        axes.fill_between(numbers[0], numbers[2], numbers[3], color=COLOURS[layout], alpha=0.15, linewidth=0)
        axes.plot(numbers[0], numbers[1], "o-", color=COLOURS[layout], markersize=3, linewidth=1.3, label=layout)
    axes.set_title(human(family.name), fontsize=8)
    axes.set_xticks(family.parameters, [parameter(value, family.unit) for value in family.parameters], fontsize=7)
    axes.set_xlabel(axis_label(family.unit), fontsize=7.5)
    axes.grid(axis="y", color=FAINT)
    if not family.rises:
        axes.invert_xaxis()


def _by_augmentation(data: FigureInput, rows: pl.DataFrame, title: str) -> Figure:
    names = rows["augmentation"].unique(maintain_order=True).to_list()
    layouts = rows["layout"].unique(maintain_order=True).to_list()
    note = "recall@1 of each layout; line: 95 % interval"
    drawn = new_figure(data.caption(note, every=True), 7.2, 0.9 + 0.12 * len(names) * (1 + len(layouts)), title)
    axes = drawn.subplots()
    step = 0.8 / max(1, len(layouts))
    for place, layout in enumerate(layouts):
        part = rows.filter(layout=layout)
        at = np.array([names.index(name) for name in part["augmentation"]]) + (place + 0.5) * step - 0.4
        axes.hlines(at, part["ci_low"], part["ci_high"], color=COLOURS[layout], linewidth=1)
        axes.plot(part["value"], at, "o", color=COLOURS[layout], markersize=4, label=layout)
    axes.set_yticks(range(len(names)), [human(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("recall@1")
    axes.grid(axis="x", color=FAINT)
    drawn.legend(loc="outside right upper")
    return drawn
