"""Recall@1 in galleries of other sizes: exact in smaller ones, predicted in larger, bounded in far larger ones.

A view's query finds its own original if no other image of the gallery has a cosine as high.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy
from numpy.typing import NDArray

from embedshift.arrays import GroupNumbers, Values
from embedshift.questions.search.matching import image_estimates
from embedshift.statistics.intervals import clopper_pearson, ends_or_nan, mean_interval, proportion_interval
from embedshift.statistics.sample import Estimates

# Rows of a table: fractions of the searched gallery, and how many times its size predictions and bounds are for.
PARTS, PREDICTED, BOUNDED = (8, 4, 2, 1), (2, 3, 4, 5), (10, 100)
# Nothing is predicted from fewer images, nor where fewer views find their original: there the curve is no line.
LEAST, LEAST_RECALL = 40, 0.5
# Highest cosines with other images that are kept of each query.
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
class SearchRanks:
    """The results of searching the views of one augmentation among the originals of n images, and their groups."""

    ranks: Values
    own_cosines: Values
    other_cosines: Values
    images: int
    groups: GroupNumbers | None = None

    @property
    def has_direction(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.ranks)


def recall_among(ranks: Values, images: int, size: int) -> Values:
    """Returns the chance that a query finds its own original in a random part of the gallery that contains it."""
    better, others = np.asarray(ranks, np.float64) - 1, size - 1
    with np.errstate(invalid="ignore"):
        log = _log_choose(images - 1 - better, others) - _log_choose(np.float64(images - 1), others)
        return np.where(np.isnan(better), np.nan, np.where(images - 1 - better >= others, np.exp(log), 0.0))


def _log_choose(n: Values | np.float64, k: int) -> Values:
    gammaln = scipy.special.gammaln
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def predict(search: SearchRanks, size: int) -> tuple[float, float, float]:
    n, half = search.images, (search.images + 1) // 2
    steps = float(np.log(size / n) / np.log(n / half))
    hits = np.where(search.has_direction, search.ranks == 1, np.nan)
    sample = image_estimates(hits + (hits - recall_among(search.ranks, n, half)) * steps, search.groups)
    lowest = -steps * float(recall_among(np.array(2.0), n, half))
    p, error = (sample.mean - lowest) / (1 - lowest), sample.error / (1 - lowest)
    with np.errstate(invalid="ignore", divide="ignore"):
        effective = np.where(error > 0, p * (1 - p) / error**2, sample.having)
    ends = ends_or_nan(sample, *clopper_pearson(p * effective, effective))
    low, high = (np.clip(lowest + (1 - lowest) * end, 0.0, 1.0).item() for end in ends)
    return float(np.clip(sample.mean.item(), 0.0, 1.0)), low, high


def bound(search: SearchRanks, size: int) -> tuple[float, float] | None:
    """Returns a lower bound of recall@1 in a far larger gallery for any law of the cosines, and its interval's end."""
    own_cosines, other_cosines = search.own_cosines[search.has_direction], search.other_cosines[search.has_direction]
    if not len(own_cosines):
        return None
    values = np.sort(other_cosines, axis=None)[::-1]
    positions = _LEAST_MATCHES * 2 ** np.arange(max(0, int(np.log2(max(1, len(values) / _LEAST_MATCHES))) + 1)) - 1
    thresholds = values[positions[positions < len(values)]]
    if other_cosines.shape[1] < search.images - 1:  # cut lists would give too small counts
        thresholds = thresholds[thresholds > other_cosines[:, -1].max()]
    best: Estimates | None = None
    for threshold in thresholds:
        false = (search.other_cosines >= threshold).sum(axis=2) / (search.images - 1)
        numbers = image_estimates(
            np.where(search.has_direction, (search.own_cosines >= threshold) - (size - 1) * false, np.nan),
            search.groups,
        )
        if numbers.mean.item() > (0.0 if best is None else best.mean.item()):
            best = numbers
    return None if best is None else (best.mean.item(), mean_interval(best, seed=0, low=0.0, high=1.0)[0].item())


def gallery_sizes(searches: Mapping[str, SearchRanks]) -> pl.DataFrame:
    rows: list[tuple[str, int, float, float | None, float | None, str]] = []
    for name, search in searches.items():
        if search.images < 2 or not search.has_direction.any():
            continue
        n, recall = search.images, 0.0
        for size in sorted({n // part for part in PARTS if n // part > 1}):
            sample = image_estimates(recall_among(search.ranks, n, size), search.groups)
            recall = sample.mean.item()
            low, high = proportion_interval(sample)
            rows.append((name, size, recall, low.item(), high.item(), "measured"))
        if search.has_direction.any(axis=1).sum() >= LEAST and recall >= LEAST_RECALL:
            rows += [(name, times * n, *predict(search, times * n), "predicted") for times in PREDICTED]
        for size in (times * n for times in BOUNDED):
            lower_bound = bound(search, size)
            if lower_bound:
                rows.append((name, size, lower_bound[0], lower_bound[1], None, "bound"))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").fill_nan(None)
