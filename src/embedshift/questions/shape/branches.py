"""A tree ready to draw."""

from dataclasses import dataclass

import numpy as np
from scipy.cluster import hierarchy

from embedshift.arrays import Values
from embedshift.questions.shape import Tree


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
        >>> from embedshift.statistics.clusters import linkage_matrix
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
