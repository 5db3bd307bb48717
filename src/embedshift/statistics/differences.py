"""The table `differences`: which of two augmentations changes a metric more, paired by image.

Distances between embeddings are compared by their ratio, the geometric mean over images. An image that does not move
has no logarithm: pairs with an augmentation that leaves an image unmoved are compared by their difference.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.registry import METRICS
from embedshift.statistics import intervals
from embedshift.statistics.sample import Estimates
from embedshift.statistics.summary import Measured

SCHEMA: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("augmentation", "other", "metric"), pl.String),
    **dict.fromkeys(("difference", "low", "high", "effect", "ratio", "ratio_low", "ratio_high"), pl.Float64),
    "significant": pl.Boolean,
}


def differences(study: Measured, *, seed: int) -> pl.DataFrame:
    first, second = np.triu_indices(len(study.augmentations), k=1)
    names = np.array(study.augmentations, dtype=object)
    tables = []
    for metric in study.metrics if len(first) else ():
        paired = study.for_metric(metric).paired(contrasts(len(names)))
        columns = _by_difference(paired, seed)
        if metric in study.distances:
            columns = _by_ratio(study.with_logarithms(metric), columns, seed)
        pairs = {"augmentation": names[first], "other": names[second], "metric": [metric] * len(first)}
        tables.append(pl.DataFrame(pairs | columns, schema=SCHEMA))
    return pl.concat(tables).fill_nan(None) if tables else pl.DataFrame(schema=SCHEMA)


def _by_difference(paired: Estimates, seed: int) -> dict[str, Any]:
    """Returns the columns of a metric, `[pairs]` each, without ratios."""
    corrected = intervals.simultaneous_intervals(paired, seed=seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        effect = np.where(paired.variance > 0, paired.mean / paired.sd, np.nan)
    none = dict.fromkeys(("ratio", "ratio_low", "ratio_high"), np.full(len(effect), np.nan))
    ends = {"low": corrected.low, "high": corrected.high, "significant": corrected.significant}
    return {"difference": paired.mean, "effect": effect} | none | ends


def _by_ratio(both: Estimates, columns: dict[str, Any], seed: int) -> dict[str, Any]:
    """Returns the columns of a distance: its pairs are compared at once, each by its ratio if it has one."""
    count = len(both.mean) // 2
    # As many views have a logarithm as have a value.
    has_logarithm = (both.counts[count:] == both.counts[:count]) & (both.counts[:count] > 0)
    first, second = np.triu_indices(count, k=1)
    has_ratio = has_logarithm[first] & has_logarithm[second]
    weights = contrasts(count)
    paired = both.paired(np.vstack([np.where(has_ratio, 0.0, weights), np.where(has_ratio, weights, 0.0)]))
    corrected = intervals.simultaneous_intervals(paired, seed=seed)
    numbers = {"": paired.mean, "_low": corrected.low, "_high": corrected.high}
    ratios = {f"ratio{end}": np.where(has_ratio, np.exp(number), np.nan) for end, number in numbers.items()}
    # So that a pair is significant if its interval leaves out no difference, on either scale.
    ends = {f"{end[1:]}": np.where(has_ratio, columns[end[1:]], numbers[end]) for end in ("_low", "_high")}
    return columns | ratios | ends | {"significant": corrected.significant}


def contrasts(count: int) -> Values:
    """Returns the weights of all pairwise differences of `count` numbers, `[count, pairs]`."""
    first, second = np.triu_indices(count, k=1)
    weights = np.zeros((count, len(first)))
    weights[first, np.arange(len(first))] = 1.0
    weights[second, np.arange(len(first))] = -1.0
    return weights


@dataclass(frozen=True)
class Order:
    """Augmentations by how much they change one metric, and their pairs, each in both orders."""

    names: list[str]
    # That no other changes it significantly more than, and less than: with 95 % probability the true ends are here.
    most: list[str]
    least: list[str]
    significant: set[tuple[str, str]]
    # Of distances, with their intervals; NaN = no interval.
    ratios: dict[tuple[str, str], tuple[float, float, float]]


def ordered(table: pl.DataFrame, metric: str, names: Sequence[str]) -> Order:
    """Returns the order of some augmentations by the pairs of a metric; those without any difference stay in order."""
    rises = metric in METRICS and not METRICS[metric].higher_is_better
    more: list[tuple[str, str]] = []
    significant: set[tuple[str, str]] = set()
    ratios: dict[tuple[str, str], tuple[float, float, float]] = {}
    rows = table.filter(pl.col("metric") == metric, pl.col("difference").is_not_null())
    for row in rows.filter(pl.col("augmentation").is_in(names), pl.col("other").is_in(names)).iter_rows(named=True):
        pair = row["augmentation"], row["other"]
        change = row["difference"] if rises else -row["difference"]
        if row.get("ratio") is not None:
            change = row["ratio"] - 1
            low, high = row["ratio_low"] or np.nan, row["ratio_high"] or np.nan
            ratios |= {pair: (row["ratio"], low, high), pair[::-1]: (1 / row["ratio"], 1 / high, 1 / low)}
        if change:
            more.append(pair if change > 0 else pair[::-1])
        if row["significant"]:
            significant |= {pair, pair[::-1]}
    ahead = Counter(first for first, _ in more)
    before, behind = ({pair[end] for pair in more if pair in significant} for end in (0, 1))
    return Order(
        sorted(names, key=lambda name: -ahead[name]),
        most=[name for name in names if name not in behind],
        least=[name for name in names if name not in before],
        significant=significant,
        ratios=ratios,
    )
