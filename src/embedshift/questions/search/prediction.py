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
# Images below which nothing is predicted: their pools have few queries.
LEAST = 40
# Highest cosines with other images that are kept of each query: `others`.
KEPT = 64
# How many times as many queries a wide pool has; curves that differ by less than this in half a gallery are one.
_WIDE, _HARDLY = 4, 0.01
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
    def found(self) -> NDArray[np.bool_]:
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


@dataclass(frozen=True)
class Pools:
    """The impostors for each of q queries: those of the queries most similar to it."""

    members: NDArray[np.intp]
    fractions: Values

    @property
    def chance(self) -> Values:
        """Returns the chance that a further image is as near to a query as its own original, `[q]`, below 1."""
        return np.asarray(np.minimum(self.fractions.mean(axis=1), 1 - 1e-12))


def pools(search: Search, factor: int) -> Pools:
    """Returns the most similar queries of each query that has a direction, in their order."""
    own, others = search.own[search.found], search.others[search.found]
    both = np.stack([own, others[:, 0]], axis=1)
    spread = both.std(axis=0)
    places = both / np.where(spread > 0, spread, 1.0) * [factor, 1]
    images = search.found.any(axis=1).sum()
    pool = min(len(own), max(1, round(factor * len(own) / images * np.sqrt(images / 2))))
    _, members = scipy.spatial.cKDTree(places).query(places, k=np.arange(1, pool + 1))
    # One member of every pool at a time: all at once would be pool times the memory of the queries.
    reached = [(others[each] >= own[:, None]).sum(axis=1) for each in members.T]
    return Pools(np.asarray(members, np.intp), np.stack(reached, axis=1) / (search.images - 1))


def predicted(pooled: Pools, hits: Values | NDArray[np.bool_], images: int, size: int) -> Values:
    """Returns numbers whose mean is recall@1 in a gallery of another size, by the chances of one kind of pools."""
    chance, recall = pooled.chance, float(hits.mean())
    rates = -np.log1p(-chance)
    log_growth = _growth(rates, recall, images)
    if log_growth is None:
        return np.asarray(hits, np.float64)
    before, after = (_parts(rates, log_growth, of) for of in (images, size))
    slope = (size - 1) * (rates * after).mean() / ((images - 1) * (rates * before).mean())
    by_chance = np.exp(log_growth) * (slope * (images - 1) * before - (size - 1) * after) / (1 - chance)
    moved = by_chance[:, None] * (pooled.fractions - chance[:, None]) / pooled.members.shape[1]
    as_member = np.bincount(pooled.members.ravel(), moved.ravel(), minlength=len(hits))
    return np.asarray(after + slope * (hits - before) + as_member)


def _growth(rates: Values, recall: float, images: int) -> float | None:
    """Returns the logarithm of g in `predicted`; None if no g gives this recall."""
    if not (rates == 0).mean() < recall < 1:
        return None
    found = scipy.optimize.brentq(lambda each: _parts(rates, each, images).mean() - recall, -60.0, 60.0)
    return float(found)


def _parts(rates: Values, log_growth: float, size: int) -> Values:
    return np.asarray(np.exp(-np.exp(log_growth) * (size - 1) * rates))


@dataclass(frozen=True)
class Prediction:
    """Recall@1 in larger galleries, by narrow and wide pools, mixed so that the curve fits half the gallery too."""

    search: Search
    hits: NDArray[np.bool_]
    kinds: tuple[Pools, Pools]
    narrow: float

    @classmethod
    def of(cls, search: Search) -> "Prediction":
        """Fits a prediction to the recall in the gallery and in random halves of the gallery."""
        n, hits = search.images, search.ranks[search.found] == 1
        kinds = (pools(search, 1), pools(search, _WIDE))
        half = recall_among(search.ranks[search.found], n, (n + 1) // 2).mean()
        narrow, wide = (predicted(each, hits, n, (n + 1) // 2).mean() for each in kinds)
        apart = narrow - wide
        # Equal weights if they hardly differ in half the gallery, which then cannot tell which one is right.
        fraction = 0.5 + apart * (half - (narrow + wide) / 2) / (apart**2 + _HARDLY**2)
        return cls(search, hits, kinds, float(np.clip(fraction, 0.0, 1.0)))

    def mixed(self, narrow: Values, wide: Values) -> Values:
        """Mixes the numbers of both kinds of pools."""
        return self.narrow * narrow + (1 - self.narrow) * wide

    def at(self, size: int) -> tuple[float, float, float]:
        """Returns the recall in a gallery of N, and the ends of its 95 % interval, for new images."""
        n, found = self.search.images, self.search.found
        numbers, hits = (np.full(found.shape, np.nan) for _ in range(2))
        numbers[found] = self.mixed(*(predicted(each, self.hits, n, size) for each in self.kinds))
        hits[found] = self.hits
        sample = over_images(numbers)
        p = np.clip(sample.mean, 0.0, 1.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            effective = np.fmin(p * (1 - p) / sample.error**2, sample.having)
        low, high = known(sample, *clopper_pearson(p * effective, effective))
        least = proportion_interval(over_images(hits))[0].item()
        by_curve = self.mixed(*(np.asarray(_through(each, least, n, size)) for each in self.kinds))
        return p.item(), float(np.minimum(low.item(), by_curve)), high.item()


def _through(pooled: Pools, recall: float, images: int, size: int) -> float:
    """Returns the recall in a gallery of N on the curve through a recall in one of n; that recall without a curve."""
    rates = -np.log1p(-pooled.chance)
    log_growth = _growth(rates, recall, images)
    return recall if log_growth is None else float(_parts(rates, log_growth, size).mean())


def bound(search: Search, size: int) -> tuple[float, float] | None:
    """Returns a lower bound of recall@1 in a far larger gallery for any law of the cosines, and its interval's end."""
    own, others = search.own[search.found], search.others[search.found]
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
        numbers = over_images(np.where(search.found, (search.own >= threshold) - (size - 1) * false, np.nan))
        if numbers.mean.item() > (0.0 if best is None else best.mean.item()):
            best = numbers
    return None if best is None else (best.mean.item(), mean_interval(best, seed=0, low=0.0, high=1.0)[0].item())


def gallery_sizes(searches: Mapping[str, Search]) -> pl.DataFrame:
    """Returns recall@1 in galleries of other sizes."""
    rows: list[tuple[str, int, float, float | None, float | None, str]] = []
    for name, search in searches.items():
        if search.images < 2 or not search.found.any():
            continue
        n = search.images
        for size in sorted({n // part for part in PARTS if n // part > 1}):
            sample = over_images(recall_among(search.ranks, n, size))
            rows.append((name, size, sample.mean.item(), *_ends(proportion_interval(sample)), "measured"))
        if search.found.any(axis=1).sum() >= LEAST:
            prediction = Prediction.of(search)
            rows += [(name, times * n, *prediction.at(times * n), "predicted") for times in PREDICTED]
        for size in (times * n for times in BOUNDED):
            least = bound(search, size)
            if least:
                rows.append((name, size, least[0], least[1], None, "bound"))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").fill_nan(None)


def _ends(ends: tuple[Values, Values]) -> tuple[float, float]:
    return ends[0].item(), ends[1].item()
