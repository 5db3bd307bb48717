"""Figure 4d: the tree of augmentations, where it is cut, and the clusters that this makes."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster import hierarchy

from embedshift.clusters import CUT, Tree, Values, linkage_matrix, threshold
from embedshift.figures.base import FigureInput, figure
from embedshift.figures.style import INK, MUTED, colours, human, new_figure


@dataclass(frozen=True)
class Branches:
    """A tree ready to draw: leaf i of `leaves` stands at position i.

    Args:
        positions: Of the four corners of each merge, along the leaves, float64 `[A - 1, 4]`.
        heights: Of the same corners.
        leaves: Indices of what was linked, in the order of the drawing.
    """

    positions: Values
    heights: Values
    leaves: list[int]


def branches(linkage: Values) -> Branches:
    """The lines of scipy's dendrogram.

    Example:
        >>> branches(linkage_matrix([[0.0, 1.0], [1.0, 0.0]])).positions.tolist()
        [[0.0, 0.0, 1.0, 1.0]]
    """
    drawn = hierarchy.dendrogram(linkage, no_plot=True)
    # scipy puts the leaves at 5, 15, 25 ...
    return Branches((np.array(drawn["icoord"]) - 5) / 10, np.array(drawn["dcoord"]), drawn["leaves"])


def height_label(tree: Tree) -> str:
    """What the height of a merge is, in words.

    Example:
        >>> height_label(Tree())
        'height of the merge (ward linkage on mean cosine distance)'
    """
    on = "mean cosine distance" if tree.on == "images" else f"{tree.metric} distance of mean embeddings"
    return f"height of the merge ({tree.linkage} linkage on {on})"


@figure("dendrogram", "04d", "Which augmentations move the embedding alike")
def dendrogram(data: FigureInput, title: str) -> Figure:
    """The tree with its leaves to the left, a dashed line where it is cut, and a named band per cluster."""
    names = data.clusters["augmentation"].to_list()
    note = f"clusters: the tree cut at {CUT:g} of its greatest height"
    figure = new_figure(data.caption(note), 7.5, 1.2 + 0.3 * len(names), title)
    axes = figure.subplots()
    leaves = data.clusters.sort("leaf")["augmentation"].to_list()
    highest = 1.0
    if len(names) > 1:
        highest = _tree(axes, linkage_matrix(data.distances, data.tree.linkage))
    _bands(axes, data.clusters)
    palette = colours(names)
    axes.scatter(
        np.zeros(len(leaves)), np.arange(len(leaves)), s=36, c=[palette[n] for n in leaves], zorder=4, clip_on=False
    )
    axes.set_yticks(range(len(leaves)), [human(name) for name in leaves])
    axes.tick_params(axis="y", length=0, pad=7)
    axes.set_ylim(len(leaves) - 0.5, -0.5)
    axes.set_xlim(0, highest * 1.04)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(height_label(data.tree))
    return figure


def _tree(axes: Axes, linkage: Values) -> float:
    """Draws the merges and the cut; the greatest height."""
    tree, at = branches(linkage), threshold(linkage)
    for positions, heights in zip(tree.positions, tree.heights, strict=True):
        within = heights.max() <= at
        axes.plot(heights, positions, color=INK if within else MUTED, linewidth=1.8 if within else 1.1, zorder=3)
    axes.axvline(at, color=INK, linewidth=1, linestyle="--", zorder=2)
    axes.annotate(
        f"cut at {at:.3g}", (at, 1), xytext=(0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
        ha="center", va="bottom",
    )  # fmt: skip
    return float(linkage[:, 2].max()) or 1.0


def _bands(axes: Axes, clusters: pl.DataFrame) -> None:
    """A grey band behind the leaves of each cluster, every other one darker, with its name at the right."""
    parts = clusters.group_by("cluster").agg(pl.col("leaf").min().alias("first"), pl.col("leaf").max().alias("last"))
    for index, (cluster, first, last) in enumerate(parts.sort("first").iter_rows()):
        axes.axhspan(first - 0.5, last + 0.5, color=("#f6f6f6", "#e9e9e9")[index % 2], zorder=0, linewidth=0)
        axes.annotate(
            f"cluster {cluster}", (1, (first + last) / 2), xytext=(5, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", va="center", fontweight="bold",
        )  # fmt: skip
