"""Converts ranks to recall, mean reciprocal rank and overlap of neighbours, with intervals over images."""

import numpy as np
import polars as pl

from embedshift.arrays import GroupNumbers, Values
from embedshift.statistics.intervals import bounded_interval, mean_interval, proportion_interval
from embedshift.statistics.layout import sums_and_counts
from embedshift.statistics.sample import gather

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


def recall_metrics(ranks: pl.DataFrame, *, seed: int, groups: GroupNumbers | None = None) -> Numbers:
    draws = max(1, len(ranks) // max(1, ranks["image_id"].n_unique()))
    rank, overlap = (by_image(ranks[name], draws) for name in ("rank", "knn_overlap"))
    with np.errstate(invalid="ignore"):
        is_recalled = [np.where(np.isnan(rank), np.nan, rank <= k) for k in KS]
    parts = [sums_and_counts(np.stack(values, axis=-1)) for values in (is_recalled, (1.0 / rank, overlap))]
    fractions, means = (gather([part], together=False, groups=groups) for part in parts)
    recalls = [fractions.counts, fractions.mean, *proportion_interval(fractions)]
    ends = np.array(mean_interval(means, seed=seed, low=0.0, high=1.0))
    with np.errstate(invalid="ignore"):
        of_images = parts[1][0] / parts[1][1]
    # If few images differ, or none, a bootstrap has no interval.
    has_bootstrap = np.isfinite(ends).all(axis=0) & (means.variance > 0)
    others = [
        means.counts,
        means.mean,
        *np.where(has_bootstrap, ends, bounded_interval(of_images, 0.0, 1.0, seed=seed, groups=groups)),
    ]
    columns = (np.append(*pair).tolist() for pair in zip(recalls, others, strict=True))
    numbers = ((int(n), *ends) for n, *ends in zip(*columns, strict=True))
    return dict(zip((*RECALLS, MRR, OVERLAP), numbers, strict=True))


def by_image(values: pl.Series, draws: int) -> Values:
    """Reshapes a column of views to `[n, draws]`, NaN for null."""
    return values.cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(-1, draws)
