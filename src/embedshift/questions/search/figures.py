"""Figures 18 to 20: recall by augmentation, recall in galleries of other sizes, and matches against false matches."""

from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from embedshift.figures.base import FigureInput, figure, has_table
from embedshift.figures.shared import name_rows
from embedshift.figures.style import FAINT, INK, MUTED, human, new_figure
from embedshift.questions.search.matching import RECALLS, least_found_first
from embedshift.statistics.intervals import LEAST_IMAGES

FIRST, *DEEPER = RECALLS
# Lines that stay apart in one panel.
LINES = 9
# How the parts of a curve over sizes are drawn.
STYLES = {"measured": "-", "predicted": "--", "bound": ":"}
MARKS = dict(zip(DEEPER, ("o", "D"), strict=True))
DEEP: dict[str, Any] = {"color": MUTED, "markersize": 3.5, "alpha": 0.45}


@figure("recall", section=True, is_available=has_table("search"))
def recall(data: FigureInput, title: str) -> Figure:
    by_metric = {(row["augmentation"], row["metric"]): row for row in data.need("search").iter_rows(named=True)}
    names = by_recall(data)
    none = f"no interval below {LEAST_IMAGES} {data.group_word}s"
    note = "dot: fraction of views whose original ranks first; "
    note += "line: 95 % interval" if data.group_count >= LEAST_IMAGES else none
    drawn = new_figure(data.caption(note), 6.6, 1.15 + 0.25 * len(names), title)
    axes = drawn.subplots()
    for position, name in enumerate(names):
        row, colour = by_metric[name, FIRST], data.colours[name]
        for metric, mark in MARKS.items():
            axes.plot(by_metric[name, metric]["value"], position, mark, clip_on=False, **DEEP)
        if row["ci_low"] is not None:
            axes.hlines(position, row["ci_low"], row["ci_high"], color=colour, linewidth=1.6, zorder=2)
        axes.plot(row["value"], position, "o", color=colour, markersize=5.5, zorder=3, clip_on=False)
    name_rows(axes, [human(name) for name in names], below=0.5)
    axes.set_xlim(-0.01, 1.01)
    axes.grid(axis="x", color=FAINT)
    axes.set_xlabel("fraction of views whose original is among the first k results (1 = all)")
    first = Line2D([], [], linestyle="", marker="o", color=INK, markersize=5.5, label=FIRST)
    others = [Line2D([], [], linestyle="", marker=mark, label=metric, **DEEP) for metric, mark in MARKS.items()]
    drawn.legend(handles=[first, *others], loc="outside right upper")
    return drawn


def by_recall(data: FigureInput) -> list[str]:
    return [name for name in least_found_first(data.need("search").drop_nulls("value")) if name in data.augmentations]


@figure("gallery", section=True, is_available=has_table("gallery_sizes"))
def gallery(data: FigureInput, title: str) -> Figure:
    parts = data.need("gallery_sizes").partition_by("augmentation", as_dict=True)
    names = [name for name in by_recall(data) if (name,) in parts]
    few = [f"the {LINES} of {len(names)} augmentations with the lowest recall"] if len(names) > LINES else []
    note = "solid: measured on parts of the set; dashed: predicted; dotted: lower bound; shaded: 95 % interval"
    drawn = new_figure(data.caption(note, *few), 7.2, 3.9, title)
    axes = drawn.subplots()
    for name in names[:LINES]:
        _curve(axes, parts[name,].sort("images"), data.colours[name], human(name))
    axes.set_xscale("log")
    axes.set_xlabel("number of images in the gallery")
    axes.set_ylabel("fraction of views whose original ranks first")
    _finish(drawn, axes)
    return drawn


def _curve(axes: Axes, table: pl.DataFrame, colour: str, label: str) -> None:
    measured = table.filter(kind="measured")
    for kind, line in STYLES.items():
        part = table.filter(kind=kind)
        if part.is_empty():
            continue
        if kind == "predicted":
            part = pl.concat([measured.tail(1), part])
        if kind != "bound":
            ends = part.drop_nulls(["ci_low", "ci_high"])
            axes.fill_between(ends["images"], ends["ci_low"], ends["ci_high"], color=colour, alpha=0.1, linewidth=0)
        axes.plot(
            part["images"], part["recall"], linestyle=line, color=colour, linewidth=1.4, gid=kind,
            marker="o" if kind == "measured" else "", markersize=3, label=label if kind == "measured" else None,
        )  # fmt: skip


@figure("roc", section=True, is_available=has_table("roc"))
def roc(data: FigureInput, title: str) -> Figure:
    parts = data.need("roc").partition_by("augmentation", as_dict=True)
    thresholds = data.table("thresholds")
    note = "each point of a line is one threshold of the cosine"
    note += "" if thresholds is None else "; dashed: the false-match rates in the table"
    drawn = new_figure(data.caption(note), 7.2, 3.9, title)
    axes = drawn.subplots()
    for name in by_recall(data):
        if (name,) in parts:
            part = parts[name,].filter(pl.col("false_match_rate") > 0).sort("false_match_rate", "tpr")
            axes.plot(part["false_match_rate"], part["tpr"], color=data.colours[name], linewidth=1.3, label=human(name))
    for rate in () if thresholds is None else thresholds["false_match_rate"]:
        axes.axvline(rate, color=MUTED, linewidth=0.8, linestyle="--", zorder=1, gid="threshold")
    axes.set_xscale("log")
    axes.set_xlabel("false-match rate: fraction of pairs of different images that match")
    axes.set_ylabel("fraction of views that match their original")
    _finish(drawn, axes)
    return drawn


def _finish(drawn: Figure, axes: Axes) -> None:
    axes.set_ylim(-0.02, 1.02)
    axes.grid(color=FAINT)
    drawn.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
