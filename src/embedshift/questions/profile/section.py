"""The report's first table: the relative shift, and the means of every metric."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from embedshift.config import Json
from embedshift.registry import METRICS
from embedshift.report.numbers import MISSING, fixed, metric_decimals, with_interval
from embedshift.report.section import PageInput, Part, Section
from embedshift.statistics.intervals import APPROXIMATE_BELOW, LEAST_IMAGES
from embedshift.statistics.summary import COSINE, RADAR_METRICS, ranked_metrics

Row = Json

# The metrics of the table; others have one of their own below it, because one table of all is wider than a screen.
FIRST = (*RADAR_METRICS, "l2_distance")


def section(page: PageInput) -> Section:
    """Returns the section: the table, with the cluster of every augmentation if the study has clusters."""
    data, cluster_table = page.data, page.data.table("clusters")
    clusters = {} if cluster_table is None else dict(cluster_table.select("augmentation", "cluster").iter_rows())
    table = summary_table(data.summary, data.ranking, clusters, page.reader.metrics, data.colours)
    for row in table["rows"]:
        row["description"] = page.info.descriptions.get(row["augmentation"], "")
    lacking = {*RADAR_METRICS} - {*ranked_metrics(data.summary)}
    content = {
        "table": table,
        "has_attention": page.info.encoder.grid is not None,
        "has_pixels": page.info.has_pixels,
        "has_clusters": bool(clusters),
        "has_relative_shift": any(row["relative_shift"]["value"] for row in table["rows"]),
        "looks": len(data.metrics_needing("attention", "aligned", "rollout")) > 1,
        "units": data.units,
        "unit": data.unit,
        "least": LEAST_IMAGES,
        "approximate": LEAST_IMAGES <= data.units < APPROXIMATE_BELOW,
        "variance": [
            f"{METRICS[name].label} {100 * part:.0f} %"
            for name, part in variance_fractions(data.summary)
            if part >= 0.01
        ],
        "left_out": [METRICS[name].label for name in page.reader.metrics if name in lacking],
    }
    return Section("summary", "Summary", content)


def variance_fractions(summary: pl.DataFrame) -> list[tuple[str, float]]:
    """Splits the variance of the mean performance over the augmentations: metric → its part, the largest first."""
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


def summary_table(
    summary: pl.DataFrame,
    ranking: pl.DataFrame,
    clusters: Mapping[str, int],
    metrics: Sequence[str],
    colours: Mapping[str, str],
) -> dict[str, Any]:
    """Returns columns and rows of the summary, the furthest moved first, and below them the baselines."""
    values = {(row["augmentation"], row["metric"]): row for row in summary.iter_rows(named=True)}
    columns: list[Row] = [{"title": "augmentation", "text": True}]
    columns += [{"title": "relative shift", "note": "0 = same, 1 = other", "sorted": True}]
    columns += [
        {"title": METRICS[name].label, "note": f"no change = {METRICS[name].no_change:g}", "more": name not in FIRST}
        for name in metrics
    ]
    columns += [
        {"title": "mean performance", "note": "of the similarities"},
        {"title": "rank", "note": "by performance"},
    ]
    columns += [{"title": "cluster"}] if clusters else []
    scales = {name: _scale(name, [row for (_, metric), row in values.items() if metric == name]) for name in metrics}
    rows: list[Row] = []
    for row in ranking.iter_rows(named=True):
        name = row["augmentation"]
        cells = [_cell(values[name, metric], *scales[metric]) | {"more": metric not in FIRST} for metric in metrics]
        rows.append(
            {"augmentation": name, "colour": colours[name], "rank": row["rank"], "cluster": clusters.get(name)}
            | {"relative_shift": _relative_shift(values[name, COSINE])}
            | {"cells": cells}
            | {"performance": _performance(row)}
        )
    rows.sort(key=lambda row: -float(row["relative_shift"]["order"]))
    baselines = [values[ranking["augmentation"][0], metric]["baseline"] for metric in metrics]
    shown = [
        {"text": fixed(baseline, scales[metric][2]), "more": metric not in FIRST}
        for metric, baseline in zip(metrics, baselines, strict=True)
    ]
    other_images = {"cells": shown, "performance": fixed(ranking["baseline"][0], 3)}
    defaults = {"sorted": False, "text": False, "note": "", "more": False}
    return {"columns": [defaults | column for column in columns], "rows": rows, "other_images": other_images}


def _relative_shift(row: Row) -> Row:
    """Returns the cell of the relative shift; its sort key is the change of the cosine, which needs no baseline."""
    change = -1.0 if row["mean"] is None else 1.0 - row["mean"]
    text, interval = with_interval(row["relative_shift"], row["relative_shift_low"], row["relative_shift_high"])
    tint = 0.0 if row["relative_shift"] is None else 100 * min(1.0, max(0.0, row["relative_shift"]))
    return {
        "text": text,
        "interval": interval,
        "value": _sortable(row["relative_shift"]),
        "order": change,
        "change": f"{tint:.0f}",
    }


def _performance(row: Row) -> Row:
    low, high = row["ci_low"], row["ci_high"]
    interval = MISSING if low is None or high is None else f"{fixed(low, 3)} to {fixed(high, 3)}"
    value = row["mean_performance"]
    return {"text": fixed(value, 3), "interval": interval, "value": _sortable(value)}


def _scale(metric: str, rows: Sequence[Row]) -> tuple[float, float, int]:
    """Returns no change, the greatest change of a mean in the column, and decimals."""
    means = [row["mean"] for row in rows if row["mean"] is not None]
    no_change = METRICS[metric].no_change
    return (
        no_change,
        max((abs(mean - no_change) for mean in means), default=0),
        metric_decimals(metric, max(means, default=0)),
    )


def _cell(row: Row, no_change: float, greatest: float, places: int) -> Row:
    mean = row["mean"]
    change = 100 * abs(mean - no_change) / greatest if mean is not None and greatest > 0 else 0
    low, high = row["ci_low"], row["ci_high"]
    interval = MISSING if low is None or high is None else f"{fixed(low, places)} to {fixed(high, places)}"
    return {
        "text": fixed(mean, places),
        "value": _sortable(mean),
        "interval": interval,
        "change": f"{change:.0f}",
    }


def _sortable(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


TERMS = {
    "mean performance": "The paper's overall score: the mean of its similarity metrics. It mixes the response of the "
    "encoder with the change of the pixels.",
    "aligned": "After moving the original as the view was moved, over what the view shows of it.",
    "patch similarity": "Similarity of the pixels of original and view, in a 4 x 4 grid.",
    "edge preservation": "Similarity of the edge strength at each position.",
    "detail preservation": "Similarity of the contrast in an 8 x 8 grid.",
}

PART = Part(section, terms=TERMS)
