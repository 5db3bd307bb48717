"""The table `variance`: a metric's variance between images and between draws, by one-way random effects."""

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.registry import METRICS
from embedshift.statistics.chunks import gather
from embedshift.statistics.intervals import mean_interval
from embedshift.statistics.layout import Layout, blocks, side_by_side, sums_and_counts
from embedshift.statistics.sample import Estimates
from embedshift.store.reader import Reader
from embedshift.store.table import Table

COLUMNS = ("augmentation", "metric", "source", "fraction", "low", "high")
# A variance below, or below this fraction of the mean square, is rounding.
_ROUNDING, _FRACTION = 1e-24, 1e-15


def variance(reader: Reader) -> pl.DataFrame:
    rows: list[tuple[str, str, str, float, float, float]] = []
    for metric in reader.metrics if reader.chunks.items else ():
        read = functools.partial(moments, order=reader.chunks.order, names=reader.augmentations, metric=metric)
        numbers = zip(*split(gather(reader.chunks, read), seed=reader.info.seed), strict=True)
        for name, (image, low, high) in zip(reader.augmentations, numbers, strict=True):
            rows.append((name, metric, "image", image, low, high))
            rows.append((name, metric, "draw", 1 - image, 1 - high, 1 - low))
    rows.sort(key=lambda row: reader.augmentations.index(row[0]))
    schema = {name: pl.String if name in COLUMNS[:3] else pl.Float64 for name in COLUMNS}
    return pl.DataFrame(rows, schema, orient="row").fill_nan(None)


def moments(rows: pl.LazyFrame, *, order: Layout, names: Sequence[str], metric: str) -> Iterator[tuple[Values, Values]]:
    """Yields what `split` needs, some images at a time: of n values n, n², sum, sum² / n, squares around the mean."""
    for block in blocks(rows.select(metric), len(order.views)):
        # From the value of an unchanged view, since squares of large numbers that hardly differ are rounding.
        off = order.numbers(block, [metric]) - METRICS[metric].no_change
        values = np.concatenate([off[:, order.positions(name)] for name in names], axis=-1)
        sums, n = sums_and_counts(values)
        means = sums / np.maximum(n, 1.0)
        numbers = (n, n**2, sums, sums * means, np.nansum((values - means[:, None]) ** 2, axis=1))
        yield side_by_side((number, np.minimum(n, 1.0)) for number in numbers)


def split(sample: Estimates, *, seed: int) -> tuple[Values, Values, Values]:
    """Returns the fraction of the variance of single values that lies between images, with its 95 % interval.

    It is 1 - n0 / (F - 1 + n0), with F the mean square between images over that within them, and n0 the number of
    values of an image; at least 0. The interval is the bootstrap-t of log F, by its derivatives.
    """
    n, squares, total, product, within = sample.mean.reshape(5, -1)
    images = sample.counts[: len(n)]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / n
        least = np.maximum(_ROUNDING, _FRACTION * product)
        between, within = (np.where(part > least, part, 0.0) for part in (product - total * mean, within))
        log_ratio = np.log(between / within * (n - 1) * images / (images - 1))
        size = (n - squares / (n * images)) * images / (images - 1)
        slopes = mean**2 / between + 1 / (n - 1), 0 * n, -2 * mean / between, 1 / between, -1 / within
    linear = sample.combine(np.vstack([np.diag(np.where(np.isfinite(log_ratio), slope, 0.0)) for slope in slopes]))
    ends = (log_ratio - linear.mean + end for end in mean_interval(linear, seed=seed))
    fraction, low, high = (np.maximum(1 - size / (np.expm1(log) + size), 0.0) for log in (log_ratio, *ends))
    return fraction, low, high


DOC = "The fractions of the variance of single views that lie between images, and between draws of an image."

TABLES = (
    Table("variance", variance, is_available=lambda reader: reader.info.draws > 1, requires="2 draws or more", doc=DOC),
)
