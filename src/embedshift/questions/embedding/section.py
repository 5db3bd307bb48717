"""The question on the page: its answer, and charts of the distributions of cosine and L2."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.config import Json
from embedshift.figures import FigureInput
from embedshift.figures.style import metric_label
from embedshift.registry import METRICS
from embedshift.report.numbers import count, fixed, metric_decimals, with_interval
from embedshift.report.section import ROW_PIXELS, Answer, Chart, PageInput, Part, Plot, chart_layout, escaped, short
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.summary import COSINE, FAR, ROUNDING, density, ordered

CHARTS = {"cosine": ("cosine_similarity", "Cosine similarity"), "l2": ("l2_distance", "L2 distance")}
# Every third of the 400 points of a curve: the eye sees no difference, and the page is smaller.
THIN = 3
# Augmentations whose distance to other originals the answer gives.
NAMED = 3


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
            f"5 % to 95 % quantile: {value['q05']} to {value['q95']}<br>"
            f"{count(row['n'], 'view')} of {count(row['images'], 'image')}"
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


def answer(page: PageInput) -> Answer:
    shifts = page.data.table("shifts")
    columns = "augmentation", "relative_to_others"
    relative_to_others = {} if shifts is None else dict(shifts.select(*columns).drop_nulls().iter_rows())
    groups, pairs = page.data.groups_with(COSINE), page.data.table("differences")
    content = shift_extremes(page.data.summary, page.encoder, groups, relative_to_others, pairs)
    return Answer("How far does the embedding move?", content)


def shift_extremes(
    summary: pl.DataFrame,
    encoder: str,
    images: int,
    relative_to_others: Mapping[str, float],
    pairs: pl.DataFrame | None = None,
) -> Json:
    measured = summary.filter((pl.col("metric") == COSINE) & pl.col("mean").is_not_null())
    rows = sorted(measured.iter_rows(named=True), key=lambda row: float(row["mean"]))
    if not rows:
        return {"encoder": encoder, "augmentations": 0}
    most, least = rows[0], rows[-1]
    far = [row for row in rows if (row["relative_shift"] or 0.0) > FAR and row["augmentation"] in relative_to_others]
    by_name = {row["augmentation"]: _formatted(row) for row in rows}
    order = None if pairs is None or images < LEAST_IMAGES else ordered(pairs, COSINE, list(by_name))
    return {
        "encoder": encoder,
        "augmentations": len(rows),
        "furthest": order and [by_name[name] for name in order.most],
        "nearest": order and [by_name[name] for name in reversed(order.least)],
        "most": _formatted(most),
        "least": _formatted(least),
        "baseline": most["baseline"],
        "has_relative_shift": most["relative_shift"] is not None,
        "images": images,
        "is_moved": most["mean"] <= 1.0 - ROUNDING,
        "are_equal": least["mean"] - most["mean"] < ROUNDING,
        "lost_views": [_lost(row, relative_to_others[row["augmentation"]]) for row in far[:NAMED]],
    }


def _lost(row: Json, times: float) -> Json:
    centred = with_interval(*(row.get(f"centred_shift{end}") for end in ("", "_low", "_high")))
    return {"augmentation": row["augmentation"], "times": times, "centred": centred, "offset": row.get("common_offset")}


def _formatted(row: Json) -> Json:
    relative_shift = with_interval(row["relative_shift"], row["relative_shift_low"], row["relative_shift_high"])
    return {"augmentation": row["augmentation"], "mean": row["mean"], "relative_shift": relative_shift}


TERMS = {
    "cosine similarity": "The cosine of the angle between two embeddings: 1 = same direction, 0 = right angle.",
    "L2 distance": "The Euclidean distance between two embeddings, in the encoder's own units.",
}

PART = Part(charts=charts, answer=answer, terms=TERMS)
