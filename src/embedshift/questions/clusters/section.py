"""The tree of augmentations as an interactive chart of the report."""

from collections.abc import Iterator, Sequence

import numpy as np

from embedshift.figures import FigureInput
from embedshift.figures.style import colours
from embedshift.questions.clusters import Tree
from embedshift.questions.clusters.tables import clusters, distances, height_label
from embedshift.report.section import NEUTRAL, Chart, PageInput, Part, Plot, chart_layout, escaped, short
from embedshift.statistics.clusters import CUT, branches, linkage_matrix, threshold


def charts(page: PageInput) -> Iterator[Chart]:
    plot = dendrogram(page.data) if page.reader.compares_all else None
    if plot is not None:
        yield Chart("tree", "Distances between the views of augmentations", plot)


def dendrogram(data: FigureInput) -> Plot | None:
    table, tree = clusters(data.reader), data.reader.choice(Tree)
    leaves = table["augmentation"].to_list()
    if len(leaves) < 2 or table["leaf"].null_count():
        return None
    matrix = linkage_matrix(distances(data.reader), tree.linkage)
    drawn = branches(matrix)
    # A gap ends every join, so that one line draws all joins.
    gap = np.full((len(drawn.heights), 1), np.nan)
    x, y = (np.hstack([part, gap]).ravel() for part in (drawn.heights, drawn.positions))
    names = [leaves[index] for index in drawn.leaves]
    numbers = dict(table.select("augmentation", "cluster").iter_rows())
    palette = colours(leaves)
    lines = {
        "type": "scatter", "mode": "lines", "x": short(x), "y": short(y), "line": {"color": NEUTRAL, "width": 1.8},
        "hovertemplate": "height %{x}<extra></extra>", "showlegend": False,
    }  # fmt: skip
    dots = {
        "type": "scatter", "mode": "markers", "x": [0] * len(names), "y": list(range(len(names))),
        "marker": {"size": 9, "color": [palette[name] for name in names]}, "cliponaxis": False,
        "text": [f"<b>{escaped(name)}</b><br>cluster {numbers[name]}" for name in names],
        "hovertemplate": "%{text}<extra></extra>", "showlegend": False,
    }  # fmt: skip
    layout = chart_layout(len(names), height_label(tree).replace(" (", "<br>("), [escaped(name) for name in names])
    layout["yaxis"]["range"] = [len(names) - 0.5, -0.5]
    layout["yaxis"]["showgrid"] = False
    layout["xaxis"]["rangemode"] = "tozero"
    layout["margin"] |= {"r": 72, "b": 64}
    _cut(layout, threshold(matrix))
    _bands(layout, [numbers[name] for name in names])
    return {"data": [lines, dots], "layout": layout}


def _cut(layout: Plot, height: float) -> None:
    line = {"color": NEUTRAL, "width": 1.2, "dash": "dash"}
    layout["shapes"] = [{"type": "line", "x0": height, "x1": height, "y0": 0, "y1": 1, "yref": "paper", "line": line}]
    text = f"cut at {CUT:g} of the height"
    layout["annotations"] = [
        {"x": height, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False, "text": text}
    ]


def _bands(layout: Plot, clusters: Sequence[int]) -> None:
    for index, cluster in enumerate(dict.fromkeys(clusters)):
        first = clusters.index(cluster)
        last = first + clusters.count(cluster) - 1
        layout["shapes"].append(
            {"type": "rect", "layer": "below", "xref": "paper", "x0": 0, "x1": 1, "y0": first - 0.5, "y1": last + 0.5,
             "line": {"width": 0}, "fillcolor": NEUTRAL, "opacity": (0.06, 0.14)[index % 2]}
        )  # fmt: skip
        layout["annotations"].append(
            {"x": 1, "xref": "paper", "xanchor": "left", "xshift": 6, "y": (first + last) / 2, "showarrow": False,
             "text": f"<b>cluster {cluster}</b>"}
        )  # fmt: skip


TERMS = {
    "tree": "Joins augmentations step by step, starting with those whose views of the same image are closest.",
    "cluster": "Augmentations that the tree joins below 0.7 of its height.",
}

PART = Part(charts=charts, terms=TERMS)
