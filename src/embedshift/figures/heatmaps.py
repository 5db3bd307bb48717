"""Figures 3, 8a, 9 and that of the words: matrices as colours."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.cluster import hierarchy

from embedshift.errors import EmbedshiftError
from embedshift.figures.base import FigureInput, Values, figure
from embedshift.figures.dendrogram import branches
from embedshift.figures.style import (
    COLOUR_MAP,
    FAINT,
    INK,
    MUTED,
    column_names,
    contrast,
    human,
    metric_label,
    new_figure,
)
from embedshift.gallery import draw_ids
from embedshift.metrics import METRICS
from embedshift.words import matrix

SAMPLE = 50
# Two hues that colour-blind readers tell apart, white at zero.
DIVERGING = "PuOr_r"


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
    settings: dict[str, Any] = {
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


def _annotation(columns: int) -> dict[str, Any]:
    return {
        "annot": True,
        "fmt": ".3f" if columns <= 12 else ".2f",
        "annot_kws": {"fontsize": 8 if columns <= 12 else 7},
    }


def _width(columns: int) -> float:
    return 0.85 if columns <= 12 else 0.45


@figure("heatmap", "03", "What each augmentation leaves as it was, least changed first")
def heatmap(data: FigureInput, title: str) -> Figure:
    """Means of the radar metrics x augmentations, columns sorted by mean performance, which stands above them."""
    metrics, means = data.performance()
    names = data.by_rank()
    values = means[:, [data.augmentations.index(name) for name in names]]
    inches = _width(len(names))
    height = 0.42 * len(metrics) + column_names(names, inches)[2] + 1.2
    figure = new_figure(data.caption_of_means("means"), inches * len(names) + 2.3, height, title)
    axes = figure.subplots()
    rows = [METRICS[metric].label for metric in metrics]
    mesh = cells(axes, values, rows, names, inches, **_annotation(len(names)))
    average = dict(data.ranking.select("augmentation", "mean_performance").iter_rows())
    above = axes.secondary_xaxis("top")
    digits = 3 if len(names) <= 12 else 2
    shown = ["n/a" if average[name] is None else f"{average[name]:.{digits}f}" for name in names]
    above.set_xticks(np.arange(len(names)) + 0.5, shown, fontsize=8 if len(names) <= 12 else 7, fontweight="bold")
    above.tick_params(length=0)
    above.spines["top"].set_visible(False)
    above.set_xlabel("mean performance", loc="left")
    colour_bar(figure, mesh, axes, "mean (1 = no change)")
    return figure


@figure("clustermap", "08a", "Augmentations and metrics by likeness of their profiles")
def clustermap(data: FigureInput, title: str) -> Figure:
    """Figure 3's matrix with its rows and columns in the order of their own trees, which stand at its edges.

    A metric that some augmentation has no mean for cannot be placed in a tree and is left out.
    """
    metrics, means = data.performance()
    whole = [index for index, values in enumerate(means) if not np.isnan(values).any()]
    if not whole:
        raise EmbedshiftError("figure 'clustermap': no metric has a mean for every augmentation")
    means, metrics = means[whole], [metrics[index] for index in whole]
    links = [_linkage(matrix, data.tree.linkage) for matrix in (means, means.T)]
    order = [branches(link).leaves if link is not None else [0] for link in links]
    names = [data.augmentations[index] for index in order[1]]
    inches = _width(len(names))
    note = f"means; trees: {data.tree.linkage} linkage on Euclidean distance of rows and of columns"
    width, height = inches * len(names) + 3.2, 0.42 * len(metrics) + column_names(names, inches)[2] + 1.8
    figure = new_figure(data.caption_of_means(note), width, height, title)
    grid = figure.add_gridspec(2, 2, width_ratios=(0.9, inches * len(names)), height_ratios=(0.9, 0.42 * len(metrics)))
    axes = figure.add_subplot(grid[1, 1])
    rows = [METRICS[metrics[index]].label for index in order[0]]
    mesh = cells(axes, means[np.ix_(*order)], rows, names, inches, **_annotation(len(names)))
    axes.yaxis.tick_right()
    axes.tick_params(axis="y", length=0, rotation=0)
    left, top = figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[0, 1])
    for side, link, count in ((left, links[0], len(metrics)), (top, links[1], len(names))):
        side.set_axis_off()
        _edge_tree(side, link, count, upright=side is top)
    colour_bar(figure, mesh, [axes, left, top], "mean (1 = no change)", shrink=0.7)
    return figure


def _linkage(matrix: Values, method: str) -> Values | None:
    return np.asarray(hierarchy.linkage(matrix, method=method)) if len(matrix) > 1 else None


def _edge_tree(axes: Axes, linkage: Values | None, count: int, *, upright: bool) -> None:
    """A tree whose leaves meet the middles of `count` cells."""
    tree = None if linkage is None else branches(linkage)
    highest = 1.0 if tree is None else float(tree.heights.max()) or 1.0
    for positions, heights in () if tree is None else zip(tree.positions + 0.5, tree.heights, strict=True):
        axes.plot(*((positions, heights) if upright else (heights, positions)), color=INK, linewidth=1.1)
    if upright:
        axes.set(xlim=(0, count), ylim=(0, highest * 1.05))
    else:
        axes.set(ylim=(count, 0), xlim=(highest * 1.05, 0))


@figure("sample_heatmap", "09", "Cosine similarity with the original, image by image")
def sample_heatmap(data: FigureInput, title: str) -> Figure:
    """Cosine similarity of 50 images, drawn by the study's seed, x augmentations; the mean over the draws."""
    known = data.rows.filter(pl.col("view") == data.augmentations[0]).select(pl.col("image_id").unique()).collect()
    ids = draw_ids(known["image_id"], SAMPLE, data.seed)
    means = (
        data.rows.filter(pl.col("image_id").is_in(ids) & pl.col("view").is_in(data.augmentations))
        .group_by("image_id", "view")
        .agg(pl.col("cosine_similarity").fill_nan(None).mean())
        .collect()
    )
    found = {(image, view): value for image, view, value in means.iter_rows()}
    values = np.array([[found.get((i, name)) for name in data.augmentations] for i in ids], dtype=np.float64)
    inches = _width(len(data.augmentations)) * 0.9
    note = f"{len(ids)} images drawn by seed {data.seed}" + (", mean over the draws" if data.draws > 1 else "")
    width = inches * len(data.augmentations) + 3.2
    height = max(0.155 * len(ids), 1.6) + column_names(data.augmentations, inches)[2] + 0.9
    figure = new_figure(data.caption(note), width, height, title)
    axes = figure.subplots()
    rows = [human(i.replace("_", "\0"), 34).replace("\0", "_") for i in ids]
    mesh = cells(axes, values, rows, data.augmentations, inches, linewidths=0.4)
    axes.tick_params(axis="y", labelsize=6.5)
    colour_bar(figure, mesh, axes, metric_label("cosine_similarity"), aspect=40)
    return figure


@figure("words", "13", "Does the shift point to the word for it?", needs="words")
def words(data: FigureInput, title: str) -> Figure:
    """Mean cosine between every augmentation's shift and every word's direction; its own word is framed."""
    if data.words is None:
        raise EmbedshiftError("the study has no words; run it with --text", exit_code=2)
    names, named, values = matrix(data.words)
    inches = _width(len(named))
    note = "0 = nothing to do with the word; a word is called by its augmentation; framed: its own"
    height = max(0.3 * len(names), 1.0) + column_names(named, inches)[2] + 1.1
    figure = new_figure(data.caption("mean cosine of shift and word", note), inches * len(named) + 3.2, height, title)
    axes = figure.subplots()
    far = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    scale = {"cmap": DIVERGING, "vmin": -far, "vmax": far}
    shown = np.round(values, 3 if len(named) <= 12 else 2) + 0.0  # no minus in front of a zero
    mesh = cells(axes, shown, [human(name) for name in names], named, inches, **_annotation(len(named)), **scale)
    for column, name in enumerate(named):
        place = (column, names.index(name))
        axes.add_patch(Rectangle(place, 1, 1, fill=False, edgecolor=INK, linewidth=2, zorder=3, clip_on=False))
    axes.set_ylabel("shift under")
    axes.set_xlabel("word for")
    colour_bar(figure, mesh, axes, "mean cosine")
    return figure
