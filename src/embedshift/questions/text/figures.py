"""Figures of text: whether an image still matches its words, and whether its shift points to a word."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from embedshift.errors import UsageError
from embedshift.figures.base import FigureInput, figure, has_table
from embedshift.figures.shared import annotation, cells, colour_bar, column_width, name_rows
from embedshift.figures.style import INK, column_names, human, new_figure
from embedshift.questions.text.tables import matrix
from embedshift.registry import METRICS

# Two hues that colour-blind readers tell apart, white at zero.
DIVERGING = "PuOr_r"
TEXT_AXES = {
    "text_alignment_shift": "mean change of the cosine with the caption",
    "zero_shot_flip": "fraction of views that change class",
    "zero_shot_margin_shift": "mean change of the class margin",
}


@figure("text", section=True, is_available=lambda data: data.metrics_needing("text"))
def text(data: FigureInput, title: str) -> Figure:
    metrics = data.metrics_needing("text")
    if not metrics:
        raise UsageError("the study has no text; run it with `text` or `labels`")
    note = "dot: mean; whisker: 95 % interval of the mean over images; dashed: no change"
    height = 1.0 + 0.28 * len(data.augmentations)
    figure = new_figure(data.caption(note), 3.0 * len(metrics) + 1.6, height, title)
    positions = np.arange(len(data.augmentations))
    for axes, metric in zip(figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0], metrics, strict=True):
        mean, low, high = (data.statistic(name, metric) for name in ("mean", "ci_low", "ci_high"))
        axes.axvline(METRICS[metric].no_change, color=INK, linewidth=1, linestyle="--")
        axes.hlines(positions, low, high, colors=list(data.colours.values()), linewidth=2)
        axes.scatter(mean, positions, color=list(data.colours.values()), s=26, zorder=3)
        axes.set_title(METRICS[metric].label)
        axes.set_xlabel(TEXT_AXES.get(metric, f"mean {METRICS[metric].label}"))
        name_rows(axes, [human(name) for name in data.augmentations])
        axes.margins(x=0.08)
        axes.locator_params(axis="x", nbins=5)
    return figure


@figure("words", section=True, is_available=has_table("words"))
def words(data: FigureInput, title: str) -> Figure:
    table = data.table("words")
    if table is None:
        raise UsageError("the study has no words; run it with `text`")
    names, phrase_names, values = matrix(table)
    inches = column_width(len(phrase_names))
    note = "0 = unrelated to the phrase; a phrase has the name of its augmentation; frame: the own phrase"
    height = max(0.3 * len(names), 1.0) + column_names(phrase_names, inches)[2] + 1.1
    figure = new_figure(
        data.caption("mean cosine between shift and phrase", note), inches * len(phrase_names) + 3.2, height, title
    )
    axes = figure.subplots()
    limit = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    scale = {"cmap": DIVERGING, "vmin": -limit, "vmax": limit}
    shown = np.round(values, 3 if len(phrase_names) <= 12 else 2) + 0.0  # no minus in front of a zero
    mesh = cells(
        axes, shown, [human(name) for name in names], phrase_names, inches, **annotation(len(phrase_names)), **scale
    )
    for column, name in enumerate(phrase_names):
        corner = (column, names.index(name))
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=INK, linewidth=2, zorder=3, clip_on=False))
    axes.set_ylabel("shift under")
    axes.set_xlabel("phrase for")
    colour_bar(figure, mesh, axes, "mean cosine")
    return figure
