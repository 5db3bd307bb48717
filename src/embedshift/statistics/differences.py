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
    "settled": pl.Boolean,
}


def differences(of: Measured, *, seed: int) -> pl.DataFrame:
    """Returns all pairs of augmentations for each metric, with simultaneous 95 % intervals over the pairs of a metric.

    The intervals are the studentised bootstrap over images with max-T; above 5,000 images the normal law of the
    covariance. All intervals of a metric hold at once with 95 %. Up to 5,000 images, a pair uses the images that have
    both values.

    Args:
        of: The metrics of all images.
        seed: The study's seed; it decides the resamples.

    Returns:
        `augmentation, other, metric, difference, low, high, effect, settled`: `difference` is the mean under
        `augmentation` minus that under `other`, in the metric's unit; `effect` is the difference divided by the
        standard deviation of the paired differences (d_z); `settled` says whether the interval excludes 0. With fewer
        than 8 images the ends are null and nothing is settled.

    Example:
        >>> from embedshift.statistics.sample import of_values
        >>> values = np.random.default_rng(0).normal([0.0, 2.0], 1.0, (30, 2))
        >>> table = differences(Measured(("blur", "noise"), ("l2_distance",), of_values(values)), seed=0)
        >>> table["settled"].to_list()
        [True]
    """
    pairs = list(itertools.combinations(range(len(of.augmentations)), 2))
    rows: list[dict[str, object]] = []
    for metric in of.metrics if pairs else ():
        found = of.of(metric).paired(contrasts(len(of.augmentations)))
        together = intervals.of_several(found, seed=seed)
        with np.errstate(invalid="ignore", divide="ignore"):
            effect = np.where(found.variance > 0, found.mean / found.sd, np.nan)
        for k, (one, other) in enumerate(pairs):
            names = {"augmentation": of.augmentations[one], "other": of.augmentations[other], "metric": metric}
            ends = {"low": together.low[k], "high": together.high[k], "settled": bool(together.settled[k])}
            rows.append(names | {"difference": found.mean[k], "effect": effect[k]} | ends)
    return pl.DataFrame(rows, schema=SCHEMA).fill_nan(None)


def contrasts(count: int) -> Values:
    """Returns the weights of all pairwise differences of `count` numbers, `[count, pairs]`.

    Example:
        >>> contrasts(3).tolist()
        [[1.0, 1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, -1.0, -1.0]]
    """
    first, second = np.triu_indices(count, k=1)
    weights = np.zeros((count, len(first)))
    weights[first, np.arange(len(first))] = 1.0
    weights[second, np.arange(len(first))] = -1.0
    return weights


def settled_pairs(table: pl.DataFrame, metric: str) -> Iterator[tuple[str, str]]:
    """Yields the pairs of augmentations that are settled in one metric, each in both orders."""
    for one, other in table.filter(pl.col("metric") == metric, "settled").select("augmentation", "other").iter_rows():
        yield from ((one, other), (other, one))
