"""The numbers of a comparison: pure functions of arrays and tables."""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import Values
from embedshift.config import Json
from embedshift.registry import METRICS
from embedshift.statistics import intervals
from embedshift.statistics import summary as tables
from embedshift.statistics.layout import sums_and_counts
from embedshift.statistics.sample import gather
from embedshift.statistics.summary import RADAR_METRICS

COMPARISON_SCHEMA: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("augmentation", "metric", "study", "reference"), pl.String),
    "n": pl.Int64,
    **dict.fromkeys(("mean", "reference_mean", "difference", "ci_low", "ci_high"), pl.Float64),
    "significant": pl.Boolean,
}
MEANS_SCHEMA: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("augmentation", "metric", "study"), pl.String),
    "mean": pl.Float64,
}
STATISTICS = ("mean", "sd", "median", "q05", "q95", "ci_low", "ci_high")


def comparable(metrics: Sequence[str], weights: Sequence[str]) -> NDArray[np.bool_]:
    """Returns which metrics of each study can be compared with the first study's, bool `[S, K]`."""
    free = np.array([metric in METRICS and METRICS[metric].unit != "encoder" for metric in metrics])
    equal = np.array([each == weights[0] for each in weights])
    return np.asarray(free[None, :] | equal[:, None])


def paired(
    values: Values, metric: str, names: Sequence[str], may_differ: NDArray[np.bool_], *, seed: int
) -> tuple[Values, list[list[Json]]]:
    """Returns means of one metric, and differences from the first study with intervals, paired by image."""
    there = ~np.isnan(values)
    has = there.any(axis=(1, 3), keepdims=True)
    used = np.where((there | ~has).all(axis=0), values, np.nan)
    number = (~np.isnan(used)).sum(axis=(1, 3))
    with np.errstate(invalid="ignore"):
        means = np.nansum(used, axis=(1, 3)) / number
    rows: list[list[Json]] = [[] for _ in range(values.shape[2])]
    for s in range(1, len(names)):
        apart = gather([sums_and_counts((used[s] - used[0]).transpose(0, 2, 1))])
        low, high = intervals.mean_interval(apart, seed=seed)
        significant = intervals.simultaneous_intervals(apart, seed=seed).significant
        for a, found in enumerate(rows):
            row: Json = {"metric": metric, "study": names[s], "reference": names[0]}
            row |= {"n": int(min(number[0, a], number[s, a])), "significant": False}
            row |= {"mean": known(means[s, a]), "reference_mean": known(means[0, a])}
            if row["n"] and may_differ[s]:
                row |= {"difference": known(apart.mean[a]), "ci_low": known(low[a]), "ci_high": known(high[a])}
                row["significant"] = bool(significant[a])
            found.append(row)
    return means, rows


def known(value: float) -> float | None:
    """Returns the value, or None for NaN."""
    return None if math.isnan(value) else float(value)


def rankings(means: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Returns `study, augmentation, mean_performance, rank` from `study, augmentation, metric, mean`."""
    having = means.drop_nulls("mean").group_by("metric").agg(pl.col("study").n_unique())
    shared = set(having.filter(pl.col("study") == len(names))["metric"]) & set(RADAR_METRICS)
    kept = means.filter(pl.col("metric").is_in(list(shared)))
    parts = [tables.ranking(kept.filter(pl.col("study") == name)) for name in names]
    return pl.concat(
        [part.select(pl.lit(name).alias("study"), pl.all()) for name, part in zip(names, parts, strict=True)]
    )


def rank_correlations(means: pl.DataFrame, ranking: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Returns the Spearman correlation of each study's order of the augmentations with the first study's."""
    cosine = means.filter(pl.col("metric") == "cosine_similarity")
    orders = {"rank_correlation": (ranking, "mean_performance"), "rank_correlation_cosine": (cosine, "mean")}
    found: dict[str, list[float | None]] = {}
    for column, (table, of) in orders.items():
        values = [table.filter(pl.col("study") == name)[of] for name in names]
        found[column] = [spearman(each, values[0]) for each in values]
    return pl.DataFrame(found, schema=dict.fromkeys(found, pl.Float64))


def spearman(first: pl.Series, second: pl.Series) -> float | None:
    """Returns Spearman's rank correlation where both have a value; None if there is no order to compare."""
    both = pl.DataFrame({"first": first, "second": second}).drop_nulls()
    return None if len(both) < 2 else known(both.select(pl.corr("first", "second", method="spearman")).item())


def largest_differences(summary: pl.DataFrame, reference: pl.DataFrame) -> pl.DataFrame:
    """Finds for each metric the value of a summary that differs most from another summary."""
    keys = ["metric", "augmentation", "column"]
    here, there = (
        table.unpivot(STATISTICS, index=["metric", "augmentation"], variable_name="column", value_name=value)
        for table, value in ((summary, "value"), (reference, "reference_value"))
    )
    joined = here.join(there, on=keys, maintain_order="left").drop_nulls()
    told = joined.with_columns((pl.col("value") - pl.col("reference_value")).alias("difference"))
    ordered = told.sort(pl.col("difference").abs(), descending=True, maintain_order=True)
    return ordered.unique("metric", keep="first", maintain_order=True).select(*keys, pl.exclude(keys))
