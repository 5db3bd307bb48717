"""The report's first table: the relative shift, and the means of every metric."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from embedshift.config import Json
from embedshift.figures import FigureInput
from embedshift.registry import METRICS
from embedshift.report.numbers import at_places, fixed, in_column, metric_decimals
from embedshift.report.section import PageInput, Part, Section
from embedshift.statistics.summary import COSINE, RADAR_METRICS, ranked_metrics

# The metrics of the table; others have one of their own below it, because one table of all is wider than a screen.
FIRST = (*RADAR_METRICS, "l2_distance")


def section(page: PageInput) -> Section:
    data, cluster_table = page.data, page.data.table("clusters")
    clusters = {} if cluster_table is None else dict(cluster_table.select("augmentation", "cluster").iter_rows())
    table = summary_table(data, clusters)
    for row in table["rows"]:
        row["description"] = page.info.descriptions.get(row["augmentation"], "")
    fractions = variance_fractions(data.summary)
    lacking = {*RADAR_METRICS} - {*ranked_metrics(data.summary)}
    content = {
        "table": table,
        "has_attention": page.info.encoder.grid is not None,
        "has_pixels": page.info.has_pixels,
        "has_clusters": bool(clusters),
        "has_relative_shift": any(row["relative_shift"]["value"] for row in table["rows"]),
        "looks": len(data.metrics_needing("attention", "aligned", "rollout")) > 1,
        "group_count": data.group_count,
        "group_word": data.group_word,
        "variance": [f"{METRICS[name].label} {100 * part:.0f} %" for name, part in fractions if part >= 0.01],
        "left_out": [METRICS[name].label for name in page.reader.metrics if name in lacking],
    }
    return Section("summary", "Summary", content)


def variance_fractions(summary: pl.DataFrame) -> list[tuple[str, float]]:
    metrics = ranked_metrics(summary)
    means = {metric: summary.filter(pl.col("metric") == metric)["mean"].to_numpy() for metric in metrics}
    if not metrics or len(means[metrics[0]]) < 2:
        return []
    mean_performance = np.mean(list(means.values()), axis=0)
    variance = float(np.var(mean_performance))
    if variance < 1e-18:
        return []
    deviation = mean_performance - mean_performance.mean()
    parts = [(name, float(np.mean((values - values.mean()) * deviation))) for name, values in means.items()]
    return sorted(((name, part / len(metrics) / variance) for name, part in parts), key=lambda pair: -pair[1])


def summary_table(data: FigureInput, clusters: Mapping[str, int]) -> Json:
    metrics, ranking = data.reader.metrics, data.ranking
    values = {(row["augmentation"], row["metric"]): row for row in data.summary.iter_rows(named=True)}
    scales = {name: _scale(name, [row for (_, metric), row in values.items() if metric == name]) for name in metrics}
    rows: list[Json] = []
    for row in ranking.iter_rows(named=True):
        name, value = row["augmentation"], row["mean_performance"]
        rows.append(
            {
                "augmentation": name,
                "colour": data.colours[name],
                "rank": row["rank"],
                "cluster": clusters.get(name),
                "mean": values[name, COSINE]["mean"],
                "relative_shift": _relative_shift(values[name, COSINE]),
                "cells": [_cell(values[name, metric], metric, *scales[metric]) for metric in metrics],
                "performance": _shown(value, *at_places(value, row["ci_low"], row["ci_high"], 3)),
            }
        )
    # By the change of the cosine, which needs no baseline.
    rows.sort(key=lambda row: 2.0 if row["mean"] is None else row["mean"])
    baselines = [fixed(values[ranking["augmentation"][0], name]["baseline"], scales[name][2]) for name in metrics]
    columns = [
        {"title": METRICS[name].label, "note": f"no change = {METRICS[name].no_change:g}", "baseline": baseline}
        | {"more": name not in FIRST}
        for name, baseline in zip(metrics, baselines, strict=True)
    ]
    return {"columns": columns, "rows": rows, "performance_of_others": fixed(ranking["baseline"][0], 3)}


def _relative_shift(row: Json) -> Json:
    value = row["relative_shift"]
    shown = in_column(value, row["relative_shift_low"], row["relative_shift_high"])
    return _shown(value, *shown, tint=100 * min(1.0, max(0.0, value or 0.0)))


def _scale(metric: str, rows: Sequence[Json]) -> tuple[float, float, int]:
    means = [row["mean"] for row in rows if row["mean"] is not None]
    no_change = METRICS[metric].no_change
    greatest = max((abs(mean - no_change) for mean in means), default=0)
    return no_change, greatest, metric_decimals(metric, max(means, default=0))


def _cell(row: Json, metric: str, no_change: float, greatest: float, places: int) -> Json:
    mean = row["mean"]
    tint = 100 * abs(mean - no_change) / greatest if mean is not None and greatest > 0 else 0
    shown = at_places(mean, row["ci_low"], row["ci_high"], places)
    return _shown(mean, *shown, tint) | {"more": metric not in FIRST}


def _shown(value: float | None, text: str, interval: str, tint: float = 0.0) -> Json:
    """Returns a cell: a number as text with its interval, as a sort key, and how dark it is."""
    sort_key = "" if value is None else f"{value:.9g}"
    return {"text": text, "interval": interval, "value": sort_key, "change": f"{tint:.0f}"}


TERMS = {
    "mean performance": "The paper's overall score: the mean of its similarity metrics. It mixes the response of the "
    "encoder with the change of the pixels.",
    "aligned": "After moving the original as the view was moved, over what the view shows of it.",
    "patch similarity": "Similarity of the pixels of original and view, in a 4 x 4 grid.",
    "edge preservation": "Similarity of the edge strength at each position.",
    "detail preservation": "Similarity of the contrast in an 8 x 8 grid.",
}

PART = Part(section, terms=TERMS)
