"""The page's first table: means of every metric, augmentations in the order of the ranking."""

from collections.abc import Mapping, Sequence

import polars as pl

from embedshift.config import Json
from embedshift.registry import METRICS
from embedshift.report.numbers import MISSING, fixed, places_of
from embedshift.report.section import PageInput, Part, Section

Row = Json


def section(page: PageInput) -> Section:
    """The table, with the cluster of every augmentation where the study has clusters."""
    data, found = page.data, page.data.table("clusters")
    clusters = {} if found is None else dict(found.select("augmentation", "cluster").iter_rows())
    table = summary_table(data.summary, data.ranking, clusters, page.reader.metrics, data.colours)
    content = {
        "table": table,
        "has_attention": page.info.encoder.grid is not None,
        "has_clusters": bool(clusters),
        "looks": len(data.metrics_needing("attention", "aligned", "rollout")) > 1,
    }
    return Section("summary", "Summary", 20, content)


def summary_table(
    summary: pl.DataFrame,
    ranking: pl.DataFrame,
    clusters: Mapping[str, int],
    metrics: Sequence[str],
    colours: Mapping[str, str],
) -> dict[str, list[Row]]:
    """Columns and rows of the summary, least changed first.

    Args:
        summary: As `Study.summary`.
        ranking: As `Study.ranking`.
        clusters: Augmentation → cluster.
        metrics: Columns, in order.
        colours: Augmentation → colour.
    """
    values = {(row["augmentation"], row["metric"]): row for row in summary.iter_rows(named=True)}
    columns: list[Row] = [{"title": "rank", "sorted": True}, {"title": "augmentation", "text": True}]
    columns += [{"title": METRICS[name].label, "note": f"no change = {METRICS[name].no_change:g}"} for name in metrics]
    columns += [
        {"title": "mean performance", "note": "of the similarities"},
        *([{"title": "cluster"}] if clusters else []),
    ]
    scales = {name: _scale(name, [row for (_, metric), row in values.items() if metric == name]) for name in metrics}
    rows: list[Row] = []
    for row in ranking.sort("rank").iter_rows(named=True):
        name, performance = row["augmentation"], row["mean_performance"]
        rows.append(
            row
            | {
                "colour": colours[name],
                "cells": [_cell(values[name, metric], *scales[metric]) for metric in metrics],
                "performance": fixed(performance, 3),
                "performance_value": _sortable(performance),
                "cluster": clusters.get(name),
            }
        )
    defaults = {"sorted": False, "text": False, "note": ""}
    return {"columns": [defaults | column for column in columns], "rows": rows}


def _scale(metric: str, rows: Sequence[Row]) -> tuple[float, float, int]:
    """No change, the greatest change of a mean in the column, and decimals."""
    means = [row["mean"] for row in rows if row["mean"] is not None]
    no_change = METRICS[metric].no_change
    return (
        no_change,
        max((abs(mean - no_change) for mean in means), default=0),
        places_of(metric, max(means, default=0)),
    )


def _cell(row: Row, no_change: float, greatest: float, places: int) -> Row:
    mean = row["mean"]
    change = 100 * abs(mean - no_change) / greatest if mean is not None and greatest > 0 else 0
    interval = MISSING
    if row["n"] > 1:
        interval = f"{fixed(row['ci_low'], places)} to {fixed(row['ci_high'], places)}"
    return {
        "text": fixed(mean, places),
        "value": _sortable(mean),
        "interval": interval,
        "change": f"{change:.0f}",
    }


def _sortable(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


PART = Part(section)
