"""The table `variance`: a metric's variance between images and between draws, by one-way random effects."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.registry import METRICS
from embedshift.statistics.baselines import CHUNKS
from embedshift.statistics.intervals import LEAST_IMAGES, jackknife_interval
from embedshift.statistics.layout import ImageRows, sums_and_counts
from embedshift.statistics.sample import Estimates, gather
from embedshift.store.reader import Reader
from embedshift.store.table import Table

SCHEMA = pl.Schema({"augmentation": str, "metric": str, "source": str, "fraction": float, "low": float, "high": float})
# A mean square below, or below this fraction of the mean of the squares, is rounding.
_ROUNDING, _FRACTION = 1e-24, 1e-15


def variance(reader: Reader) -> pl.DataFrame:
    rows: list[tuple[str, str, str, float, float, float]] = []
    study = reader.image_rows
    images = study.layout.images
    sizes = np.diff([*range(0, images, max(1, images // CHUNKS)), images]).tolist()
    for metric in reader.metrics if images else ():
        parts = moments(study, reader.augmentations, metric)
        numbers = zip(*split(gather(parts, together=False, chunks=sizes, groups=study.groups)), strict=True)
        for name, (image, low, high) in zip(reader.augmentations, numbers, strict=True):
            rows.append((name, metric, "image", image, low, high))
            rows.append((name, metric, "draw", 1 - image, 1 - high, 1 - low))
    rows.sort(key=lambda row: reader.augmentations.index(row[0]))
    return pl.DataFrame(rows, SCHEMA, orient="row").fill_nan(None)


def moments(study: ImageRows, names: Sequence[str], metric: str) -> Iterator[tuple[Values, Values]]:
    """Yields, for each image with n values: n > 0, n, n², their sum, sum² / n, and squares around their mean."""
    order = study.layout
    for block in study.blocks(metric):
        # From the value of an unchanged view, since squares of large numbers that hardly differ are rounding.
        off = order.numbers(block, [metric]) - METRICS[metric].no_change
        values = np.concatenate([off[:, order.positions(name)] for name in names], axis=-1)
        sums, n = sums_and_counts(values)
        means = sums / np.maximum(n, 1.0)
        numbers = np.hstack([n > 0, n, n**2, sums, sums * means, np.nansum((values - means[:, None]) ** 2, axis=1)])
        yield numbers, np.ones(numbers.shape)


def split(sample: Estimates) -> tuple[Values, Values, Values]:
    """Returns the fraction of the variance that lies between images, with its 95 % interval.

    1 - n0 / (F - 1 + n0), at least 0: F is the mean square between images over that within, n0 the number of values of
    an image. The interval is the jackknife of log F over images, from 1,024 images on over chunks of them; under skew
    few of them decide its error.
    """
    total = (sample.mean * sample.counts).reshape(6, -1)
    parts = np.zeros((1, *total.shape)) if sample.chunked is None else sample.chunked.reshape(-1, *total.shape)
    log_ratio, size = mean_squares(total)
    with np.errstate(invalid="ignore", divide="ignore"):
        ends = jackknife_interval(log_ratio, mean_squares(total - parts)[0], deciding=True)
        fraction, low, high = (np.maximum(1 - size / (np.expm1(log) + size), 0.0) for log in (log_ratio, *ends))
    is_few = np.minimum(total[0], len(parts)) < LEAST_IMAGES
    return fraction, np.where(is_few, np.nan, low), np.where(is_few, np.nan, high)


def mean_squares(sums: Values) -> tuple[Values, Values]:
    """Returns log F and n0 from sums of the moments over images, `[..., 6, K]`."""
    images, n, squares, total, product, within = np.moveaxis(sums, -2, 0)
    least = np.maximum(_ROUNDING, _FRACTION * product)
    with np.errstate(invalid="ignore", divide="ignore"):
        between, within = (np.where(part > least, part, 0.0) for part in (product - total**2 / n, within))
        return np.log(between / (images - 1) / within * (n - images)), (n - squares / n) / (images - 1)


DOC = "The fractions of the variance of single views that lie between images, and between draws of an image."

TABLES = (
    Table("variance", variance, is_available=lambda reader: reader.info.draws > 1, requires="2 draws or more", doc=DOC),
)
