"""The interactive charts as plotly's JSON: curves that were summed up here, never rows, so size does not grow."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedshift.clusters import CUT, linkage_matrix, threshold
from embedshift.figures import FigureInput
from embedshift.figures.dendrogram import branches, height_label
from embedshift.figures.distributions import density
from embedshift.figures.style import colours, metric_label
from embedshift.metrics import METRICS
from embedshift.report.numbers import fixed, places_of

Chart = dict[str, Any]
Values = NDArray[np.float64]

# Every third of the 400 points of a curve: the eye sees no difference, and the page is smaller.
THIN = 3
ROW_PIXELS = 34
NEUTRAL = "#808794"


def distributions(data: FigureInput, metric: str) -> Chart:
    """One ridge per augmentation, all equally high, with its mean and 95 % interval, least changed on top.

    Args:
        data: The study's tables and rows.
        metric: Column to show.

    Returns:
        `data` and `layout` of a plotly figure, without the colours of the page.
    """
    facts = METRICS[metric]
    described = {row["augmentation"]: row for row in data.summary.iter_rows(named=True) if row["metric"] == metric}
    shown = [name for name in data.by_rank() if described[name]["mean"] is not None]
    traces: list[Chart] = []
    for place, name in enumerate(shown):
        curve = density(data.values(name, metric), facts.low, facts.high)
        if curve is not None:
            traces.append(_ridge(curve[0][::THIN], curve[1][::THIN], place, data.colours[name]))
    traces.append(_means([described[name] for name in shown], metric, [data.colours[name] for name in shown]))
    layout = _layout(len(shown), metric_label(metric), [_text(name) for name in shown])
    layout["hovermode"], layout["hoverdistance"] = "y", ROW_PIXELS
    if facts.low == 0:
        layout["xaxis"]["rangemode"] = "tozero"
    return {"data": traces, "layout": layout}


def _ridge(x: Values, y: Values, place: int, colour: str) -> Chart:
    tops = place - 0.86 * y / y.max()  # the axis points down
    outline_x, outline_y = np.concatenate([x, x[::-1]]), np.concatenate([tops, np.full(len(x), place)])
    return {
        "type": "scatter", "mode": "lines", "fill": "toself", "hoverinfo": "skip", "showlegend": False,
        "x": _short(outline_x), "y": _short(outline_y),
        "line": {"color": colour, "width": 1.2},
    }  # fmt: skip


def _means(rows: Sequence[Mapping[str, Any]], metric: str, colours: Sequence[str]) -> Chart:
    places = places_of(metric, max((row["mean"] for row in rows), default=None))
    texts = []
    for row in rows:
        value = {key: fixed(row[key], places) for key in ("mean", "ci_low", "ci_high", "sd", "median", "q05", "q95")}
        texts.append(
            f"<b>{_text(row['augmentation'])}</b><br>mean {value['mean']} (95 % interval {value['ci_low']} to "
            f"{value['ci_high']})<br>median {value['median']}, sd {value['sd']}<br>"
            f"5 % to 95 % of views: {value['q05']} to {value['q95']}<br>n = {row['n']:,}"
        )
    return {
        "type": "scatter", "mode": "markers", "showlegend": False, "hovertemplate": "%{text}<extra></extra>",
        "x": [row["mean"] for row in rows], "y": list(range(len(rows))), "text": texts,
        "marker": {"size": 7, "color": list(colours)},
        "error_x": {
            "type": "data", "symmetric": False, "thickness": 1.5, "width": 3,
            "array": [row["ci_high"] - row["mean"] for row in rows],
            "arrayminus": [row["mean"] - row["ci_low"] for row in rows],
        },
    }  # fmt: skip


def dendrogram(data: FigureInput) -> Chart | None:
    """The tree of augmentations, leaves at the left, with the line at which it is cut.

    Returns:
        `data` and `layout` of a plotly figure; None where there is nothing to join.
    """
    leaves = data.clusters["augmentation"].to_list()
    if len(leaves) < 2 or data.clusters["leaf"].null_count():
        return None
    matrix = linkage_matrix(data.distances, data.tree.linkage)
    drawn = branches(matrix)
    # A gap ends every join, so that all of them are one line.
    gap = np.full((len(drawn.heights), 1), np.nan)
    x, y = (np.hstack([part, gap]).ravel() for part in (drawn.heights, drawn.positions))
    names = [leaves[index] for index in drawn.leaves]
    clusters = dict(data.clusters.select("augmentation", "cluster").iter_rows())
    palette = colours(leaves)
    lines = {
        "type": "scatter", "mode": "lines", "x": _short(x), "y": _short(y), "line": {"color": NEUTRAL, "width": 1.8},
        "hovertemplate": "height %{x}<extra></extra>", "showlegend": False,
    }  # fmt: skip
    dots = {
        "type": "scatter", "mode": "markers", "x": [0] * len(names), "y": list(range(len(names))),
        "marker": {"size": 9, "color": [palette[name] for name in names]}, "cliponaxis": False,
        "text": [f"<b>{_text(name)}</b><br>cluster {clusters[name]}" for name in names],
        "hovertemplate": "%{text}<extra></extra>", "showlegend": False,
    }  # fmt: skip
    layout = _layout(len(names), height_label(data.tree).replace(" (", "<br>("), [_text(name) for name in names])
    layout["yaxis"]["range"] = [len(names) - 0.5, -0.5]
    layout["yaxis"]["showgrid"] = False
    layout["xaxis"]["rangemode"] = "tozero"
    layout["margin"] |= {"r": 72, "b": 64}
    _cut(layout, threshold(matrix))
    _bands(layout, [clusters[name] for name in names])
    return {"data": [lines, dots], "layout": layout}


def _cut(layout: Chart, height: float) -> None:
    line = {"color": NEUTRAL, "width": 1.2, "dash": "dash"}
    layout["shapes"] = [{"type": "line", "x0": height, "x1": height, "y0": 0, "y1": 1, "yref": "paper", "line": line}]
    text = f"cut at {CUT:g} of the height"
    layout["annotations"] = [
        {"x": height, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False, "text": text}
    ]


def _bands(layout: Chart, clusters: Sequence[int]) -> None:
    """A band behind the leaves of each cluster, every other one darker, with its name at the right."""
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


def _layout(count: int, title: str, labels: Sequence[str]) -> Chart:
    axis: Chart = {"zeroline": False, "automargin": True, "fixedrange": False}
    return {
        "height": 96 + ROW_PIXELS * count,
        "margin": {"l": 8, "r": 16, "t": 24, "b": 48},
        "xaxis": axis | {"title": {"text": title, "font": {"size": 12}}},
        "yaxis": axis
        | {"tickvals": list(range(len(labels))), "ticktext": list(labels), "range": [count - 0.7, -1.05],
           "fixedrange": True, "ticks": "outside", "ticklen": 9, "tickcolor": "rgba(0,0,0,0)"},
        "showlegend": False,
    }  # fmt: skip


def _text(name: str) -> str:
    """Plotly reads some HTML in labels: a name must not be taken for it."""
    return html.escape(name, quote=False)


def _short(values: Values) -> list[float | None]:
    return [None if np.isnan(value) else float(f"{value:.5g}") for value in values]
