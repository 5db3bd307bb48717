"""The tables `summary` and `ranking`, for all metrics of a study."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.registry import METRICS
from embedshift.statistics import intervals
from embedshift.statistics.baselines import Baseline, relative_shifts, relative_shifts_of_binary
from embedshift.statistics.groups import Rows, gather, grouped
from embedshift.statistics.layout import metric_parts
from embedshift.statistics.sample import Estimates, of_values
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
# Whose relative shift is the headline; from FAR on views may have left the region where images lie.
COSINE, FAR = "cosine_similarity", 0.5
# Those of which the paper takes the mean: its similarities.
RADAR_METRICS = tuple(name for name in PAPER_METRICS if name != "l2_distance")

SUMMARY_SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    "metric": pl.String,
    "n": pl.Int64,
    **dict.fromkeys(("mean", "sd", "median", "q05", "q95", "ci_low", "ci_high"), pl.Float64),
    **dict.fromkeys(("baseline", "relative_shift", "relative_shift_low", "relative_shift_high"), pl.Float64),
    "images": pl.Int64,
}
PERFORMANCE_SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    **dict.fromkeys(("ci_low", "ci_high", "baseline"), pl.Float64),
}


@dataclass(frozen=True)
class Measured:
    """The metrics of all images: a sample of A x M numbers."""

    augmentations: tuple[str, ...]
    metrics: tuple[str, ...]
    sample: Estimates

    def of(self, metric: str) -> Estimates:
        """Returns one metric under every augmentation: a sample of A numbers."""
        first, count = self.metrics.index(metric), len(self.metrics)
        return self.sample.columns([first + count * place for place in range(len(self.augmentations))])


def measured(
    rows: Rows, augmentations: Sequence[str], metrics: Sequence[str], sizes: Sequence[int] | None = None
) -> Measured:
    """Reads the metrics of a study's rows once, as a stream; without images, the sample has no values."""
    study = grouped(rows)
    if not study.items:
        nothing = np.full((1, len(augmentations) * len(metrics)), np.nan)
        return Measured(tuple(augmentations), tuple(metrics), of_values(nothing))
    read = functools.partial(metric_parts, order=study.order, augmentations=augmentations, metrics=metrics)
    return Measured(tuple(augmentations), tuple(metrics), gather(study, read, sizes=sizes))


def summary(rows: Rows, of: Measured, *, seed: int, baselines: Mapping[str, Baseline] | None = None) -> pl.DataFrame:
    """Returns for each augmentation and metric its mean with a 95 % interval, its spread, and its relative shift."""
    columns = {metric: _of_metric(of.of(metric), metric, seed, (baselines or {}).get(metric)) for metric in of.metrics}
    described: list[dict[str, object]] = []
    spread = spreads(grouped(rows), of.augmentations, of.metrics)
    for place, name in enumerate(of.augmentations):
        for metric in of.metrics:
            row = {column: array[place] for column, array in columns[metric].items()}
            described.append({"augmentation": name, "metric": metric, **row, **next(spread)})
    return pl.DataFrame(described, schema=SUMMARY_SCHEMA).fill_nan(None)


def _of_metric(sample: Estimates, metric: str, seed: int, baseline: Baseline | None) -> dict[str, Values]:
    """Returns columns of the summary for one metric, `[A]` each."""
    known = METRICS.get(metric)
    if known is not None and known.binary:
        low, high = intervals.proportion_interval(sample)
    else:
        bounds = {} if known is None else {"low": known.low, "high": known.high}
        low, high = intervals.mean_interval(sample, seed=seed, **bounds)
    found = {"mean": sample.mean, "ci_low": low, "ci_high": high, "images": sample.having}
    if known is None or baseline is None:
        return found
    if known.binary:
        relative_shift = relative_shifts_of_binary(sample, baseline, low, high)
    else:
        limits = (known.low, known.high) if np.isfinite((known.low, known.high)).all() else None
        relative_shift = relative_shifts(sample, baseline, known.no_change, seed=seed, limits=limits)
    value = np.full(len(low), baseline.value)
    return found | {
        "baseline": value,
        "relative_shift": relative_shift.value,
        "relative_shift_low": relative_shift.low,
        "relative_shift_high": relative_shift.high,
    }


def ranking(summary: pl.DataFrame) -> pl.DataFrame:
    """Returns `augmentation, mean_performance, rank`: the mean over the five radar metrics; rank 1 = least changed."""
    performance = pl.col("mean").mean().alias("mean_performance")
    kept = summary.with_columns(pl.col("mean").fill_nan(None)).filter(pl.col("metric").is_in(ranked_metrics(summary)))
    found = kept.group_by("augmentation", maintain_order=True).agg(performance)
    names = summary.select(pl.col("augmentation").unique(maintain_order=True))
    return ranked(names.join(found, on="augmentation", how="left", maintain_order="left"))


def ranked(performance: pl.DataFrame) -> pl.DataFrame:
    """Adds the `rank` of each row to a table with the column `mean_performance`."""
    # Sums of equal numbers in another order differ by rounding.
    place = pl.col("mean_performance").round(12).rank("min", descending=True).cast(pl.Int64)
    return performance.with_columns(place.alias("rank"))


def ranked_metrics(summary: pl.DataFrame) -> list[str]:
    """Returns the radar metrics that have a mean for every augmentation."""
    there = summary.filter(pl.col("metric").is_in(RADAR_METRICS) & pl.col("mean").fill_nan(None).is_not_null())
    count = summary["augmentation"].n_unique()
    often = dict(there.group_by("metric").agg(pl.col("augmentation").n_unique()).iter_rows())
    return [metric for metric in RADAR_METRICS if often.get(metric) == count]


def performance(of: Measured, metrics: Sequence[str], *, seed: int, baselines: Mapping[str, Baseline]) -> pl.DataFrame:
    """Returns the interval of each augmentation's mean performance, and its baseline: the mean of the metrics' baselines."""
    count = len(of.augmentations)
    if not metrics:
        return pl.DataFrame({"augmentation": of.augmentations}, schema_overrides=PERFORMANCE_SCHEMA).select(
            "augmentation", *(pl.lit(None, pl.Float64).alias(name) for name in ("ci_low", "ci_high", "baseline"))
        )
    places = [of.metrics.index(metric) for metric in metrics]
    # Only these metrics: others that a study measured must not change a bit.
    chosen = of.sample.columns([place * len(of.metrics) + each for place in range(count) for each in places])
    weights = np.kron(np.eye(count), np.full((len(places), 1), 1 / len(places)))
    low, high = intervals.mean_interval(chosen.combine(weights), seed=seed)
    baseline = float(np.mean([baselines[metric].value if metric in baselines else np.nan for metric in metrics]))
    columns = {"augmentation": of.augmentations, "ci_low": low, "ci_high": high, "baseline": np.full(count, baseline)}
    return pl.DataFrame(columns, schema=PERFORMANCE_SCHEMA).fill_nan(None)
