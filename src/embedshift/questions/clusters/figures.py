"""Figures 4d and 8a: the tree of augmentations, and the clustered matrix of augmentations and metrics."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster import hierarchy

from embedshift.arrays import Values
from embedshift.errors import EmbedshiftError
from embedshift.figures.base import FigureInput, few, figure
from embedshift.figures.shared import annotation, cells, colour_bar, column_width, edge_tree
from embedshift.figures.style import INK, MUTED, colours, column_names, human, new_figure
from embedshift.questions.clusters import Tree
from embedshift.questions.clusters.tables import clusters, distances, height_label
from embedshift.registry import METRICS
from embedshift.statistics.clusters import CUT, branches, linkage_matrix, threshold


@figure("dendrogram", is_available=few)
def dendrogram(data: FigureInput, title: str) -> Figure:
    table, tree = clusters(data.reader), data.reader.choice(Tree)
    names = table["augmentation"].to_list()
    note = f"clusters: the tree cut at {CUT:g} of its greatest height"
    figure = new_figure(data.caption(note), 7.5, 1.2 + 0.3 * len(names), title)
    axes = figure.subplots()
    leaves = table.sort("leaf")["augmentation"].to_list()
    highest = 1.0
    if len(names) > 1:
        highest = _tree(axes, linkage_matrix(distances(data.reader), tree.linkage))
    _bands(axes, table)
    palette = colours(names)
    axes.scatter(
        np.zeros(len(leaves)), np.arange(len(leaves)), s=36, c=[palette[n] for n in leaves], zorder=4, clip_on=False
    )
    axes.set_yticks(range(len(leaves)), [human(name) for name in leaves])
    axes.tick_params(axis="y", length=0, pad=7)
    axes.set_ylim(len(leaves) - 0.5, -0.5)
    axes.set_xlim(0, highest * 1.04)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(height_label(tree))
    return figure


def _tree(axes: Axes, linkage: Values) -> float:
    tree, cut = branches(linkage), threshold(linkage)
    for positions, heights in zip(tree.positions, tree.heights, strict=True):
        within = heights.max() <= cut
        axes.plot(heights, positions, color=INK if within else MUTED, linewidth=1.8 if within else 1.1, zorder=3)
    axes.axvline(cut, color=INK, linewidth=1, linestyle="--", zorder=2)
    axes.annotate(
        f"cut at {cut:.3g}", (cut, 1), xytext=(0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
        ha="center", va="bottom",
    )  # fmt: skip
    return float(linkage[:, 2].max()) or 1.0


def _bands(axes: Axes, clusters: pl.DataFrame) -> None:
    parts = clusters.group_by("cluster").agg(pl.col("leaf").min().alias("first"), pl.col("leaf").max().alias("last"))
    for index, (cluster, first, last) in enumerate(parts.sort("first").iter_rows()):
        axes.axhspan(first - 0.5, last + 0.5, color=("#f6f6f6", "#e9e9e9")[index % 2], zorder=0, linewidth=0)
        axes.annotate(
            f"cluster {cluster}", (1, (first + last) / 2), xytext=(5, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", va="center", fontweight="bold",
        )  # fmt: skip


@figure("clustermap", is_available=few)
def clustermap(data: FigureInput, title: str) -> Figure:
    """Figure 3's matrix with rows and columns in the order of their own trees, which are drawn at its edges."""
    metrics, means = data.performance()
    complete = [index for index, values in enumerate(means) if not np.isnan(values).any()]
    if not complete:
        raise EmbedshiftError("figure 'clustermap': no metric has a mean for every augmentation")
    means, metrics = means[complete], [metrics[index] for index in complete]
    method = data.reader.choice(Tree).linkage
    links = [hierarchy.linkage(matrix, method) if len(matrix) > 1 else None for matrix in (means, means.T)]
    order = [branches(link).leaves if link is not None else [0] for link in links]
    names = [data.augmentations[index] for index in order[1]]
    inches = column_width(len(names))
    note = f"means; trees: {method} linkage on Euclidean distance of rows and of columns"
    width, height = inches * len(names) + 3.2, 0.42 * len(metrics) + column_names(names, inches)[2] + 1.8
    figure = new_figure(data.caption_of_means(note), width, height, title)
    grid = figure.add_gridspec(2, 2, width_ratios=(0.9, inches * len(names)), height_ratios=(0.9, 0.42 * len(metrics)))
    axes = figure.add_subplot(grid[1, 1])
    rows = [METRICS[metrics[index]].label for index in order[0]]
    mesh = cells(axes, means[np.ix_(*order)], rows, names, inches, **annotation(len(names)))
    axes.yaxis.tick_right()
    axes.tick_params(axis="y", length=0, rotation=0)
    left, top = figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[0, 1])
    for side, link, count in ((left, links[0], len(metrics)), (top, links[1], len(names))):
        side.set_axis_off()
        edge_tree(side, link, count, upright=side is top)
    colour_bar(figure, mesh, [axes, left, top], "mean (1 = no change)", shrink=0.7)
    return figure
