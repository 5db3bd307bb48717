"""The table `differences`: which of two augmentations changes a metric more, paired by image."""

import itertools
from collections.abc import Iterator

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.statistics import intervals
from embedshift.statistics.summary import Measured

SCHEMA: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("augmentation", "other", "metric"), pl.String),
    **dict.fromkeys(("difference", "low", "high", "effect"), pl.Float64),
    "significant": pl.Boolean,
}


def differences(study: Measured, *, seed: int) -> pl.DataFrame:
    """All pairs of augmentations for each metric, with simultaneous 95 % intervals over the pairs of a metric."""
    pairs = list(itertools.combinations(range(len(study.augmentations)), 2))
    rows: list[dict[str, object]] = []
    for metric in study.metrics if pairs else ():
        paired = study.for_metric(metric).paired(contrasts(len(study.augmentations)))
        corrected = intervals.simultaneous_intervals(paired, seed=seed)
        with np.errstate(invalid="ignore", divide="ignore"):
            effect = np.where(paired.variance > 0, paired.mean / paired.sd, np.nan)
        for k, (first, second) in enumerate(pairs):
            names = {"augmentation": study.augmentations[first], "other": study.augmentations[second], "metric": metric}
            ends = {"low": corrected.low[k], "high": corrected.high[k], "significant": bool(corrected.significant[k])}
            rows.append(names | {"difference": paired.mean[k], "effect": effect[k]} | ends)
    return pl.DataFrame(rows, schema=SCHEMA).fill_nan(None)


def contrasts(count: int) -> Values:
    """Returns the weights of all pairwise differences of `count` numbers, `[count, pairs]`."""
    first, second = np.triu_indices(count, k=1)
    weights = np.zeros((count, len(first)))
    weights[first, np.arange(len(first))] = 1.0
    weights[second, np.arange(len(first))] = -1.0
    return weights


def significant_pairs(table: pl.DataFrame, metric: str) -> Iterator[tuple[str, str]]:
    """Yields the pairs of augmentations that are significant in one metric, each in both orders."""
    for first, second in (
        table.filter(pl.col("metric") == metric, "significant").select("augmentation", "other").iter_rows()
    ):
        yield from ((first, second), (second, first))
