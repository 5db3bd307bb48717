"""Converts ranks to recall, mean reciprocal rank and overlap of neighbours, with intervals over images."""

import numpy as np
import polars as pl

from embedshift.arrays import Units, Values
from embedshift.statistics.intervals import mean_interval, proportion_interval
from embedshift.statistics.layout import sums_and_counts
from embedshift.statistics.sample import Estimates, gather

KS = (1, 5, 10)
RECALLS = tuple(f"recall@{k}" for k in KS)
MRR, OVERLAP, AUC = "mrr", "knn_overlap@10", "auc"
# Of the table `search`; n counts views.
SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    "metric": pl.String,
    "n": pl.Int64,
    **dict.fromkeys(("value", "ci_low", "ci_high"), pl.Float64),
}
# Metric → value with the ends of its interval, and how many views it is of.
Numbers = dict[str, tuple[float, ...]]


def recall_metrics(ranks: pl.DataFrame, *, seed: int, units: Units | None = None) -> Numbers:
    draws = max(1, len(ranks) // max(1, ranks["image_id"].n_unique()))
    rank, overlap = (by_image(ranks[name], draws) for name in ("rank", "knn_overlap"))
    with np.errstate(invalid="ignore"):
        is_recalled = [np.where(np.isnan(rank), np.nan, rank <= k) for k in KS]
    fractions = _estimates(np.stack(is_recalled, axis=-1), units)
    means = _estimates(np.stack([1.0 / rank, overlap], axis=-1), units)
    recalls = [fractions.counts, fractions.mean, *proportion_interval(fractions)]
    others = [means.counts, means.mean, *mean_interval(means, seed=seed, low=0.0, high=1.0)]
    others[2][0], others[3][0] = _mrr_interval(
        others[2][0], others[3][0], means.variance[0], recalls[2][0], recalls[3][0]
    )
    columns = (np.append(*pair).tolist() for pair in zip(recalls, others, strict=True))
    numbers = ((int(n), *ends) for n, *ends in zip(*columns, strict=True))
    return dict(zip((*RECALLS, MRR, OVERLAP), numbers, strict=True))


def by_image(values: pl.Series, draws: int) -> Values:
    """Reshapes a column of views to `[n, draws]`, NaN for null."""
    return values.cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(-1, draws)


def _estimates(values: Values, units: Units | None) -> Estimates:
    return gather([sums_and_counts(values)], together=False, units=units)


def _mrr_interval(low: float, high: float, variance: float, least: float, most: float) -> tuple[float, float]:
    """Returns the interval of the mean reciprocal rank if few ranks differ from 1, so that a bootstrap has none."""
    if variance > 0 and np.isfinite([low, high]).all():
        return low, high
    return least, (1 + most) / 2
