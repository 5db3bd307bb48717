"""The question on the page: its answer, and charts of the distributions of cosine and L2."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from embedshift.arrays import Values
from embedshift.figures import FigureInput
from embedshift.figures.style import metric_label
from embedshift.questions.embedding.answer import answer
from embedshift.registry import METRICS
from embedshift.report.numbers import fixed, metric_decimals
from embedshift.report.section import ROW_PIXELS, Chart, PageInput, Part, Plot, chart_layout, escaped, short
from embedshift.statistics.density import density

CHARTS = {"cosine": ("cosine_similarity", "Cosine similarity"), "l2": ("l2_distance", "L2 distance")}
# Every third of the 400 points of a curve: the eye sees no difference, and the page is smaller.
THIN = 3


def charts(page: PageInput) -> Iterator[Chart]:
    for name, (metric, title) in CHARTS.items():
        yield Chart(name, title, distributions(page.data, metric))


def distributions(data: FigureInput, metric: str) -> Plot:
    """Returns one ridge per augmentation, all equally high, with mean and 95 % interval, the least changed on top."""
    definition = METRICS[metric]
    described = {row["augmentation"]: row for row in data.summary.iter_rows(named=True) if row["metric"] == metric}
    shown = [name for name in data.by_rank() if described[name]["mean"] is not None]
    traces: list[Plot] = []
    for row, name in enumerate(shown):
        curve = density(data.values(name, metric), definition.low, definition.high)
        if curve is not None:
            traces.append(_ridge(curve[0][::THIN], curve[1][::THIN], row, data.colours[name]))
    traces.append(_means([described[name] for name in shown], metric, [data.colours[name] for name in shown]))
    layout = chart_layout(len(shown), metric_label(metric), [escaped(name) for name in shown])
    layout["hovermode"], layout["hoverdistance"] = "y", ROW_PIXELS
    if definition.low == 0:
        layout["xaxis"]["rangemode"] = "tozero"
    return {"data": traces, "layout": layout}


def _ridge(x: Values, y: Values, row: int, colour: str) -> Plot:
    tops = row - 0.86 * y / y.max()  # the axis points down
    outline_x, outline_y = np.concatenate([x, x[::-1]]), np.concatenate([tops, np.full(len(x), row)])
    return {
        "type": "scatter", "mode": "lines", "fill": "toself", "hoverinfo": "skip", "showlegend": False,
        "x": short(outline_x), "y": short(outline_y),
        "line": {"color": colour, "width": 1.2},
    }  # fmt: skip


def _means(rows: Sequence[Mapping[str, Any]], metric: str, colours: Sequence[str]) -> Plot:
    places = metric_decimals(metric, max((row["mean"] for row in rows), default=None))
    texts = []
    for row in rows:
        value = {key: fixed(row[key], places) for key in ("mean", "ci_low", "ci_high", "sd", "median", "q05", "q95")}
        interval = "" if row["ci_low"] is None else f" (95 % interval {value['ci_low']} to {value['ci_high']})"
        texts.append(
            f"<b>{escaped(row['augmentation'])}</b><br>mean {value['mean']}{interval}<br>"
            f"single views: median {value['median']}, sd {value['sd']}<br>"
            f"5 % to 95 % quantile: {value['q05']} to {value['q95']}<br>{row['n']:,} views of {row['images']:,} images"
        )
    ends = [
        (row["mean"], *(row["mean"] if row[end] is None else row[end] for end in ("ci_low", "ci_high"))) for row in rows
    ]
    return {
        "type": "scatter", "mode": "markers", "showlegend": False, "hovertemplate": "%{text}<extra></extra>",
        "x": [row["mean"] for row in rows], "y": list(range(len(rows))), "text": texts,
        "marker": {"size": 7, "color": list(colours)},
        "error_x": {
            "type": "data", "symmetric": False, "thickness": 1.5, "width": 3,
            "array": [high - mean for mean, _, high in ends], "arrayminus": [mean - low for mean, low, _ in ends],
        },
    }  # fmt: skip


TERMS = {
    "cosine similarity": "The cosine of the angle between two embeddings: 1 = same direction, 0 = right angle.",
    "L2 distance": "The Euclidean distance between two embeddings, in the encoder's own units.",
}

PART = Part(charts=charts, answer=answer, terms=TERMS)
