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


def differences(of: Measured, *, seed: int) -> pl.DataFrame:
    """All pairs of augmentations for each metric, with simultaneous 95 % intervals over the pairs of a metric."""
    pairs = list(itertools.combinations(range(len(of.augmentations)), 2))
    rows: list[dict[str, object]] = []
    for metric in of.metrics if pairs else ():
        found = of.of(metric).paired(contrasts(len(of.augmentations)))
        together = intervals.simultaneous_intervals(found, seed=seed)
        with np.errstate(invalid="ignore", divide="ignore"):
            effect = np.where(found.variance > 0, found.mean / found.sd, np.nan)
        for k, (one, other) in enumerate(pairs):
            names = {"augmentation": of.augmentations[one], "other": of.augmentations[other], "metric": metric}
            ends = {"low": together.low[k], "high": together.high[k], "significant": bool(together.significant[k])}
            rows.append(names | {"difference": found.mean[k], "effect": effect[k]} | ends)
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
    for one, other in (
        table.filter(pl.col("metric") == metric, "significant").select("augmentation", "other").iter_rows()
    ):
        yield from ((one, other), (other, one))
