"""Means of all metrics side by side and their differences from the reference: the table `comparison`."""

import math

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.config import Json
from embedshift.statistics import intervals
from embedshift.statistics.layout import sums_and_counts
from embedshift.statistics.sample import gather
from embedshift.study.paired import checks
from embedshift.study.paired.studies import PairedStudies

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


def compare_means(paired: PairedStudies) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns the table `comparison`, and `augmentation, metric, study, mean`; one metric at a time is in memory."""
    means: list[Values] = []
    rows: list[list[list[Json]]] = []
    for metric in paired.metrics:
        values = paired.values(metric)
        if metric == "patch_similarity":
            checks.check_pixels(paired.readers, values, paired.ids, paired.same_pixels)
        mean, metric_rows = metric_differences(paired, metric, values)
        means.append(mean)
        rows.append(metric_rows)
    differences = [
        {"augmentation": augmentation, **row}
        for a, augmentation in enumerate(paired.augmentations)
        for metric_rows in rows
        for row in metric_rows[a]
    ]
    side_by_side = [
        {"augmentation": augmentation, "metric": metric, "study": name, "mean": none_if_nan(mean[s, a])}
        for a, augmentation in enumerate(paired.augmentations)
        for metric, mean in zip(paired.metrics, means, strict=True)
        for s, name in enumerate(paired.names)
    ]
    return pl.DataFrame(differences, COMPARISON_SCHEMA), pl.DataFrame(side_by_side, MEANS_SCHEMA)


def metric_differences(paired: PairedStudies, metric: str, values: Values) -> tuple[Values, list[list[Json]]]:
    """Returns means of one metric, and differences from the reference with intervals, paired by image."""
    has_value = ~np.isnan(values)
    has_metric = has_value.any(axis=(1, 3), keepdims=True)
    used = np.where((has_value | ~has_metric).all(axis=0), values, np.nan)
    counts = (~np.isnan(used)).sum(axis=(1, 3))
    with np.errstate(invalid="ignore"):
        means = np.nansum(used, axis=(1, 3)) / counts
    comparable, names = paired.same_unit(metric), paired.names
    rows: list[list[Json]] = [[] for _ in range(values.shape[2])]
    for s in range(1, len(names)):
        sample = gather([sums_and_counts((used[s] - used[0]).transpose(0, 2, 1))], units=paired.units)
        low, high = intervals.mean_interval(sample, seed=paired.seed)
        significant = intervals.simultaneous_intervals(sample, seed=paired.seed).significant
        for a, augmentation_rows in enumerate(rows):
            row: Json = {"metric": metric, "study": names[s], "reference": names[0]}
            row |= {"n": int(min(counts[0, a], counts[s, a])), "significant": False}
            row |= {"mean": none_if_nan(means[s, a]), "reference_mean": none_if_nan(means[0, a])}
            if row["n"] and comparable[s]:
                row |= {"difference": none_if_nan(sample.mean[a]), "significant": bool(significant[a])}
                row |= {"ci_low": none_if_nan(low[a]), "ci_high": none_if_nan(high[a])}
            augmentation_rows.append(row)
    return means, rows


def none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
