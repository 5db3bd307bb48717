"""Converts ranks to recall, mean reciprocal rank and overlap of neighbours, with intervals over images."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Units, Values
from embedshift.statistics.intervals import mean_interval, proportion_interval
from embedshift.statistics.layout import sums_and_counts
from embedshift.statistics.sample import Estimates, gather

KS = (1, 5, 10)
RECALLS = tuple(f"recall@{k}" for k in KS)
MRR, OVERLAP, AUC = "mrr", "knn_overlap@10", "auc"
SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    "metric": pl.String,
    "n": pl.Int64,
    **dict.fromkeys(("value", "ci_low", "ci_high"), pl.Float64),
}
# Metric → value with the ends of its interval, and how many views it is of.
Numbers = dict[str, tuple[int, float, float, float]]


def recall_metrics(ranks: pl.DataFrame, *, seed: int, units: Units | None = None) -> Numbers:
    """Returns the metrics of one augmentation."""
    draws = max(1, len(ranks) // max(1, ranks["image_id"].n_unique()))
    rank, overlap = (by_image(ranks[name], draws) for name in ("rank", "knn_overlap"))
    with np.errstate(invalid="ignore"):
        is_recalled = [np.where(np.isnan(rank), np.nan, rank <= k) for k in KS]
    fractions = _estimates(np.stack(is_recalled, axis=-1), units)
    means = _estimates(np.stack([1.0 / rank, overlap], axis=-1), units)
    low, high = proportion_interval(fractions)
    recalls = [(int(n), *ends) for n, *ends in zip(fractions.counts, fractions.mean, low, high, strict=True)]
    ends = mean_interval(means, seed=seed, low=0.0, high=1.0)
    ends[0][0], ends[1][0] = _mrr_interval(ends[0][0], ends[1][0], means.variance[0], low[0], high[0])
    others = [(int(n), *numbers) for n, *numbers in zip(means.counts, means.mean, *ends, strict=True)]
    return dict(zip((*RECALLS, MRR, OVERLAP), map(_as_numbers, recalls + others), strict=True))


def by_image(values: pl.Series, draws: int) -> Values:
    """Reshapes a column of views to `[n, draws]`, NaN for null."""
    return values.cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(-1, draws)


def _estimates(values: Values, units: Units | None) -> Estimates:
    """Makes a sample of `[n, draws, K]`."""
    return gather([sums_and_counts(values)], together=False, units=units)


def _mrr_interval(low: float, high: float, variance: float, least: float, most: float) -> tuple[float, float]:
    """Returns the interval of the mean reciprocal rank if few ranks differ from 1, so that a bootstrap has none."""
    if variance > 0 and np.isfinite([low, high]).all():
        return low, high
    return least, (1 + most) / 2


def _as_numbers(numbers: Sequence[float]) -> tuple[int, float, float, float]:
    n, value, low, high = numbers
    return int(n), float(value), float(low), float(high)


def table(by_augmentation: Mapping[str, Numbers]) -> pl.DataFrame:
    """Returns the table `search`: `augmentation, metric, n, value, ci_low, ci_high`; n counts views."""
    rows = [
        (name, metric, *numbers) for name, metrics in by_augmentation.items() for metric, numbers in metrics.items()
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").fill_nan(None)
