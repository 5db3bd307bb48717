"""Recall@1 in galleries of other sizes: exact in smaller ones, predicted in larger, bounded in far larger ones.

A view's query finds its own original if no other image of the gallery has a cosine as high.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy
from numpy.typing import NDArray

from embedshift.arrays import Values
from embedshift.questions.search.matching import over_images
from embedshift.statistics.intervals import clopper_pearson, known, mean_interval, proportion_interval
from embedshift.statistics.sample import Estimates

# What a table has: parts of the gallery that was searched, and how many times as large predictions and bounds go.
PARTS, PREDICTED, BOUNDED = (8, 4, 2, 1), (2, 3, 4, 5), (10, 100)
# Nothing is predicted from fewer images, nor where fewer views find their original: there the curve is no line.
LEAST, LEAST_RECALL = 40, 0.5
# Highest cosines with other images that are kept of each query: `others`.
KEPT = 64
# The least number of false matches behind a rate; with fewer, a bound would rest on chance.
_LEAST_MATCHES = 20
SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    "images": pl.Int64,
    **dict.fromkeys(("recall", "ci_low", "ci_high"), pl.Float64),
    "kind": pl.String,
}


@dataclass(frozen=True)
class Search:
    """The results of searching the views of one augmentation among the originals of n images."""

    ranks: Values
    own: Values
    others: Values
    images: int

    @property
    def has_direction(self) -> NDArray[np.bool_]:
        """Which views have a direction, bool `[m, draws]`."""
        return ~np.isnan(self.ranks)


def recall_among(ranks: Values, images: int, size: int) -> Values:
    """Returns the chance that a query finds its own original in a random part of the gallery that contains it."""
    better, rest = np.asarray(ranks, np.float64) - 1, size - 1
    with np.errstate(invalid="ignore"):
        log = _log_choose(images - 1 - better, rest) - _log_choose(np.float64(images - 1), rest)
        return np.where(np.isnan(better), np.nan, np.where(images - 1 - better >= rest, np.exp(log), 0.0))


def _log_choose(of: Values | np.float64, some: int) -> Values:
    gammaln = scipy.special.gammaln
    return np.asarray(gammaln(of + 1) - gammaln(some + 1) - gammaln(of - some + 1))


def predict(search: Search, size: int) -> tuple[float, float, float]:
    """Returns recall@1 in a larger gallery and its 95 % interval, by a line in the logarithm of the size."""
    n, half = search.images, (search.images + 1) // 2
    steps = float(np.log(size / n) / np.log(n / half))
    hits = np.where(search.has_direction, search.ranks == 1, np.nan)
    sample = over_images(hits + (hits - recall_among(search.ranks, n, half)) * steps)
    lowest = -steps * float(recall_among(np.array(2.0), n, half))
    p, error = (sample.mean - lowest) / (1 - lowest), sample.error / (1 - lowest)
    with np.errstate(invalid="ignore", divide="ignore"):
        effective = np.where(error > 0, p * (1 - p) / error**2, sample.having)
    ends = known(sample, *clopper_pearson(p * effective, effective))
    low, high = (np.clip(lowest + (1 - lowest) * end, 0.0, 1.0).item() for end in ends)
    return float(np.clip(sample.mean.item(), 0.0, 1.0)), low, high


def bound(search: Search, size: int) -> tuple[float, float] | None:
    """Returns a lower bound of recall@1 in a far larger gallery for any law of the cosines, and its interval's end."""
    own, others = search.own[search.has_direction], search.others[search.has_direction]
    if not len(own):
        return None
    values = np.sort(others, axis=None)[::-1]
    places = _LEAST_MATCHES * 2 ** np.arange(max(0, int(np.log2(max(1, len(values) / _LEAST_MATCHES))) + 1)) - 1
    thresholds = values[places[places < len(values)]]
    if others.shape[1] < search.images - 1:  # cut lists would give too small counts
        thresholds = thresholds[thresholds > others[:, -1].max()]
    best: Estimates | None = None
    for threshold in thresholds:
        false = (search.others >= threshold).sum(axis=2) / (search.images - 1)
        numbers = over_images(np.where(search.has_direction, (search.own >= threshold) - (size - 1) * false, np.nan))
        if numbers.mean.item() > (0.0 if best is None else best.mean.item()):
            best = numbers
    return None if best is None else (best.mean.item(), mean_interval(best, seed=0, low=0.0, high=1.0)[0].item())


def gallery_sizes(searches: Mapping[str, Search]) -> pl.DataFrame:
    """Returns recall@1 in galleries of other sizes."""
    rows: list[tuple[str, int, float, float | None, float | None, str]] = []
    for name, search in searches.items():
        if search.images < 2 or not search.has_direction.any():
            continue
        n, recall = search.images, 0.0
        for size in sorted({n // part for part in PARTS if n // part > 1}):
            sample = over_images(recall_among(search.ranks, n, size))
            recall = sample.mean.item()
            low, high = proportion_interval(sample)
            rows.append((name, size, recall, low.item(), high.item(), "measured"))
        if search.has_direction.any(axis=1).sum() >= LEAST and recall >= LEAST_RECALL:
            rows += [(name, times * n, *predict(search, times * n), "predicted") for times in PREDICTED]
        for size in (times * n for times in BOUNDED):
            least = bound(search, size)
            if least:
                rows.append((name, size, least[0], least[1], None, "bound"))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").fill_nan(None)
