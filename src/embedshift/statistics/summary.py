"""The tables `summary` and `ranking`, over whatever metrics a study has."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.registry import METRICS
from embedshift.statistics import intervals
from embedshift.statistics.floors import Floor, shares, shares_of_binary
from embedshift.statistics.groups import Rows, gather, grouped
from embedshift.statistics.layout import metric_parts
from embedshift.statistics.sample import Sample, of_values
from embedshift.statistics.spread import spreads

# The paper's order, which tables and figures keep.
PAPER_METRICS = (
    "cosine_similarity",
    "l2_distance",
    "attention_similarity",
    "patch_similarity",
    "edge_preservation",
    "detail_preservation",
)
# Whose share is the headline; from FAR on views may have left the region where images lie.
COSINE, FAR = "cosine_similarity", 0.5
# Those of which the paper takes the mean: its similarities.
RADAR_METRICS = tuple(name for name in PAPER_METRICS if name != "l2_distance")

SUMMARY_SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    "metric": pl.String,
    "n": pl.Int64,
    **dict.fromkeys(("mean", "sd", "median", "q05", "q95", "ci_low", "ci_high"), pl.Float64),
    **dict.fromkeys(("floor", "share", "share_low", "share_high"), pl.Float64),
    "images": pl.Int64,
}
PERFORMANCE_SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    **dict.fromkeys(("ci_low", "ci_high", "floor"), pl.Float64),
}


@dataclass(frozen=True)
class Measured:
    """The metrics of all images: a sample of A x M numbers.

    Args:
        augmentations: A names, in suite order.
        metrics: M names.
        sample: Of `A * M` numbers, augmentation by augmentation.
    """

    augmentations: tuple[str, ...]
    metrics: tuple[str, ...]
    sample: Sample

    def of(self, metric: str) -> Sample:
        """One metric under every augmentation: a sample of A numbers."""
        first, count = self.metrics.index(metric), len(self.metrics)
        return self.sample.columns([first + count * place for place in range(len(self.augmentations))])


def measured(
    rows: Rows, augmentations: Sequence[str], metrics: Sequence[str], sizes: Sequence[int] | None = None
) -> Measured:
    """The metrics in a study's records, read once, as a stream; without images, a sample that has no value.

    Args:
        rows: Records of a study.
        augmentations: A names.
        metrics: M columns.
        sizes: Numbers of images of consecutive groups, for shares of an exact floor.
    """
    study = grouped(rows)
    if not study.items:
        nothing = np.full((1, len(augmentations) * len(metrics)), np.nan)
        return Measured(tuple(augmentations), tuple(metrics), of_values(nothing))
    read = functools.partial(metric_parts, order=study.order, augmentations=augmentations, metrics=metrics)
    return Measured(tuple(augmentations), tuple(metrics), gather(study, read, sizes=sizes))


def summary(rows: Rows, of: Measured, *, seed: int, floors: Mapping[str, Floor] | None = None) -> pl.DataFrame:
    """Per augmentation and metric: its mean with a 95 % interval, its spread, and its share of the way to the floor.

    Args:
        rows: Records of a study.
        of: The metrics in them.
        seed: The study's seed; it decides the resamples.
        floors: Metric → what it gives for unrelated images.

    Returns:
        One row per augmentation and metric, in these orders: `augmentation, metric, n, mean, sd, median, q05, q95,
        ci_low, ci_high, floor, share, share_low, share_high, images`. NaN and null are left out: `n` counts the
        values, one a view, and `images` the images that have one. sd (ddof = 1) and quantiles (linear) are of views.
        Intervals are over images: bootstrap-t for means, Clopper and Pearson's for metrics of 0 and 1; null for fewer
        than 8 images. The share is (no change - mean) / (no change - floor): 0 = no change, 1 = as far as an unrelated
        image; null where the metric has no floor, or one that is no scale.
    """
    columns = {metric: _of_metric(of.of(metric), metric, seed, (floors or {}).get(metric)) for metric in of.metrics}
    described: list[dict[str, object]] = []
    spread = spreads(grouped(rows), of.augmentations, of.metrics)
    for place, name in enumerate(of.augmentations):
        for metric in of.metrics:
            row = {column: array[place] for column, array in columns[metric].items()}
            described.append({"augmentation": name, "metric": metric, **row, **next(spread)})
    return pl.DataFrame(described, schema=SUMMARY_SCHEMA).fill_nan(None)


def _of_metric(sample: Sample, metric: str, seed: int, floor: Floor | None) -> dict[str, Values]:
    """Columns of the summary for one metric, `[A]` each."""
    known = METRICS.get(metric)
    if known is not None and known.binary:
        low, high = intervals.of_shares(sample)
    else:
        bounds = {} if known is None else {"low": known.low, "high": known.high}
        low, high = intervals.of_means(sample, seed=seed, **bounds)
    found = {"mean": sample.mean, "ci_low": low, "ci_high": high, "images": sample.having}
    if known is None or floor is None:
        return found
    if known.binary:
        share = shares_of_binary(sample, floor, low, high)
    else:
        limits = (known.low, known.high) if np.isfinite((known.low, known.high)).all() else None
        share = shares(sample, floor, known.no_change, seed=seed, limits=limits)
    value = np.full(len(low), floor.value)
    return found | {"floor": value, "share": share.value, "share_low": share.low, "share_high": share.high}


def ranking(summary: pl.DataFrame) -> pl.DataFrame:
    """`augmentation, mean_performance, rank`: the mean of the five radar metrics' means; rank 1 = least changed.

    A metric that some augmentation has no mean for is left out for all: over other metrics, means are no order. Equal
    means share a rank.

    Example:
        >>> rows = [("flip", m, 0.9) for m in RADAR_METRICS] + [("noise", m, 0.5) for m in RADAR_METRICS]
        >>> ranking(pl.DataFrame(rows, schema=["augmentation", "metric", "mean"], orient="row"))["rank"].to_list()
        [1, 2]
    """
    performance = pl.col("mean").mean().alias("mean_performance")
    kept = summary.with_columns(pl.col("mean").fill_nan(None)).filter(pl.col("metric").is_in(ranked_metrics(summary)))
    found = kept.group_by("augmentation", maintain_order=True).agg(performance)
    names = summary.select(pl.col("augmentation").unique(maintain_order=True))
    return ranked(names.join(found, on="augmentation", how="left", maintain_order="left"))


def ranked(performance: pl.DataFrame) -> pl.DataFrame:
    """A table with the column `mean_performance`, and the `rank` of each row in it."""
    # Sums of equal numbers in another order differ by rounding.
    place = pl.col("mean_performance").round(12).rank("min", descending=True).cast(pl.Int64)
    return performance.with_columns(place.alias("rank"))


def ranked_metrics(summary: pl.DataFrame) -> list[str]:
    """The radar metrics that have a mean for every augmentation."""
    there = summary.filter(pl.col("metric").is_in(RADAR_METRICS) & pl.col("mean").fill_nan(None).is_not_null())
    count = summary["augmentation"].n_unique()
    often = dict(there.group_by("metric").agg(pl.col("augmentation").n_unique()).iter_rows())
    return [metric for metric in RADAR_METRICS if often.get(metric) == count]


def performance(of: Measured, metrics: Sequence[str], *, seed: int, floors: Mapping[str, Floor]) -> pl.DataFrame:
    """The interval of every augmentation's mean performance, and its floor: the mean of the metrics' floors.

    Args:
        of: The metrics of all images.
        metrics: Those of which it is the mean.
        seed: The study's seed; it decides the resamples.
        floors: Metric → what it gives for unrelated images.

    Returns:
        `augmentation, ci_low, ci_high, floor`; null where there is none.
    """
    count = len(of.augmentations)
    if not metrics:
        return pl.DataFrame({"augmentation": of.augmentations}, schema_overrides=PERFORMANCE_SCHEMA).select(
            "augmentation", *(pl.lit(None, pl.Float64).alias(name) for name in ("ci_low", "ci_high", "floor"))
        )
    places = [of.metrics.index(metric) for metric in metrics]
    # Of these metrics alone: what else a study measured must not change a bit.
    chosen = of.sample.columns([place * len(of.metrics) + each for place in range(count) for each in places])
    weights = np.kron(np.eye(count), np.full((len(places), 1), 1 / len(places)))
    low, high = intervals.of_means(chosen.combine(weights), seed=seed)
    floor = float(np.mean([floors[metric].value if metric in floors else np.nan for metric in metrics]))
    columns = {"augmentation": of.augmentations, "ci_low": low, "ci_high": high, "floor": np.full(count, floor)}
    return pl.DataFrame(columns, schema=PERFORMANCE_SCHEMA).fill_nan(None)
