"""Searches for every view among the originals, exactly or by FAISS: ranks, images found instead, kept neighbours.

And recall@1 in galleries of other sizes: exact in smaller ones, predicted in larger, bounded in far larger ones. A
view's query finds its own original if no other image of the gallery has a cosine as high.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np
import polars as pl
import scipy
from numpy.typing import NDArray

from embedshift.arrays import GroupNumbers, Values
from embedshift.augmentations import ORIGINAL
from embedshift.config.processes import cores, one_thread
from embedshift.questions.search.matching import image_estimates
from embedshift.statistics.agreement import NEIGHBOURS, neighbours_counted, overlap
from embedshift.statistics.intervals import clopper_pearson, ends_or_nan, mean_interval, proportion_interval
from embedshift.statistics.layout import Layout
from embedshift.statistics.retrieval import Positions, Ranked
from embedshift.statistics.sample import Estimates
from embedshift.statistics.search_index import KEPT, SearchFunction
from embedshift.store.gallery import Originals
from embedshift.store.reader import Reader

# Rows of a table: fractions of the searched gallery, and how many times its size predictions and bounds are for.
PARTS, PREDICTED, BOUNDED = (8, 4, 2, 1), (2, 3, 4, 5), (10, 100)
# Nothing is predicted from fewer images, nor where fewer views find their original: there the curve is no line.
LEAST, LEAST_RECALL = 40, 0.5
# The least number of false matches behind a rate; with fewer, a bound would rest on chance.
_LEAST_MATCHES = 20
SIZES_SCHEMA = pl.Schema(
    {"augmentation": str, "images": int, "recall": float, "ci_low": float, "ci_high": float, "kind": str}
)


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


def predict(found: SearchRanks, size: int) -> tuple[float, float, float]:
    n, half = found.images, (found.images + 1) // 2
    steps = float(np.log(size / n) / np.log(n / half))
    hits = np.where(found.has_direction, found.ranks == 1, np.nan)
    sample = image_estimates(hits + (hits - recall_among(found.ranks, n, half)) * steps, found.groups)
    lowest = -steps * float(recall_among(np.array(2.0), n, half))
    p, error = (sample.mean - lowest) / (1 - lowest), sample.error / (1 - lowest)
    with np.errstate(invalid="ignore", divide="ignore"):
        effective = np.where(error > 0, p * (1 - p) / error**2, sample.having)
    ends = ends_or_nan(sample, *clopper_pearson(p * effective, effective))
    low, high = (np.clip(lowest + (1 - lowest) * end, 0.0, 1.0).item() for end in ends)
    return float(np.clip(sample.mean.item(), 0.0, 1.0)), low, high


def bound(found: SearchRanks, size: int) -> tuple[float, float] | None:
    """Returns a lower bound of recall@1 in a far larger gallery for any law of the cosines, and its interval's end."""
    own_cosines, other_cosines = found.own_cosines[found.has_direction], found.other_cosines[found.has_direction]
    if not len(own_cosines):
        return None
    values = np.sort(other_cosines, axis=None)[::-1]
    positions = _LEAST_MATCHES * 2 ** np.arange(max(0, int(np.log2(max(1, len(values) / _LEAST_MATCHES))) + 1)) - 1
    thresholds = values[positions[positions < len(values)]]
    if other_cosines.shape[1] < found.images - 1:  # cut lists would give too small counts
        thresholds = thresholds[thresholds > other_cosines[:, -1].max()]
    best: Estimates | None = None
    for threshold in thresholds:
        false = (found.other_cosines >= threshold).sum(axis=2) / (found.images - 1)
        numbers = image_estimates(
            np.where(found.has_direction, (found.own_cosines >= threshold) - (size - 1) * false, np.nan), found.groups
        )
        if numbers.mean.item() > (0.0 if best is None else best.mean.item()):
            best = numbers
    return None if best is None else (best.mean.item(), mean_interval(best, seed=0, low=0.0, high=1.0)[0].item())


def gallery_sizes(searches: Mapping[str, SearchRanks]) -> pl.DataFrame:
    rows: list[tuple[str, int, float, float | None, float | None, str]] = []
    for name, found in searches.items():
        if found.images < 2 or not found.has_direction.any():
            continue
        n, recall = found.images, 0.0
        for size in sorted({n // part for part in PARTS if n // part > 1}):
            sample = image_estimates(recall_among(found.ranks, n, size), found.groups)
            recall = sample.mean.item()
            low, high = proportion_interval(sample)
            rows.append((name, size, recall, low.item(), high.item(), "measured"))
        if found.has_direction.any(axis=1).sum() >= LEAST and recall >= LEAST_RECALL:
            rows += [(name, times * n, *predict(found, times * n), "predicted") for times in PREDICTED]
        for size in (times * n for times in BOUNDED):
            lower_bound = bound(found, size)
            if lower_bound:
                rows.append((name, size, lower_bound[0], lower_bound[1], None, "bound"))
    return pl.DataFrame(rows, schema=SIZES_SCHEMA, orient="row").fill_nan(None)


# Images from which larger galleries are predicted.
PREDICTED_FROM = 2_000
RANKS_SCHEMA = pl.Schema(
    {"image_id": str, "view": str, "draw": int, "rank": int, "cosine": float}
    | {"other": str, "other_cosine": float, "knn_overlap": float}
)
NEIGHBOURS_SCHEMA = pl.Schema({"image_id": str, "other": str, "cosine": float})


@dataclass(frozen=True)
class SearchResults:
    ranks: pl.DataFrame
    neighbours: pl.DataFrame
    searches: dict[str, SearchRanks]
    hubs: pl.DataFrame


def search_views(reader: Reader, originals: Originals, queries: int | None, function: SearchFunction) -> SearchResults:
    rows = reader.image_rows
    order = rows.layout
    tables: list[tuple[pl.DataFrame, pl.DataFrame]] = []
    kept: list[Sequence[Ranked]] = []
    start = 0
    # One product a thread is faster by a quarter than products that share the cores; each holds cosines of 17 MB.
    with ThreadPoolExecutor(min(16, cores())) as pool, one_thread():
        for block in rows.head(order.images if queries is None else queries).blocks("draw", "embedding"):
            is_kept = start < PREDICTED_FROM
            vectors = block["embedding"].to_numpy()
            vectors = vectors.reshape(-1, len(order.views), vectors.shape[-1])
            positions = np.arange(start, start + len(vectors))
            wanted = KEPT if is_kept else NEIGHBOURS
            results = list(pool.map(function, vectors.swapaxes(0, 1), repeat(positions), repeat(wanted)))
            tables.append(_tables(results, order, block["draw"][: len(order.views)].to_list(), originals, start))
            if is_kept:
                kept.append([replace(result, positions=result.positions[:, :NEIGHBOURS].copy()) for result in results])
            start += len(vectors)
    first = {ORIGINAL: _joined(kept, order.views.index(ORIGINAL)).positions}
    searches: dict[str, SearchRanks] = {}
    for name in reader.augmentations:
        draws = [_joined(kept, view) for view in order.positions(name)]
        searches[name] = _combined(draws, originals.searched, reader.groups)
        first[name] = np.concatenate([first_results(draw, NEIGHBOURS) for draw in draws])
    return SearchResults(
        ranks=pl.concat(ranks for ranks, _ in tables),
        neighbours=pl.concat(neighbours for _, neighbours in tables),
        searches=searches,
        hubs=hubs(first, reader.augmentations, len(originals.gallery)),
    )


def _joined(blocks: Sequence[Sequence[Ranked]], view: int) -> Ranked:
    names, of_view = ("rank", "cosine", "others", "positions"), [block[view] for block in blocks]
    return Ranked(*(np.concatenate([getattr(block, name) for block in of_view])[:PREDICTED_FROM] for name in names))


def _combined(draws: Sequence[Ranked], images: int, groups: GroupNumbers | None) -> SearchRanks:
    rank, own_cosines, other_cosines = (
        np.stack([getattr(draw, name) for draw in draws], 1) for name in ("rank", "cosine", "others")
    )
    ranks = np.where(rank > 0, rank, np.nan)
    return SearchRanks(ranks, own_cosines, np.nan_to_num(other_cosines, nan=-1.0), images, groups)


def _tables(
    results: Sequence[Ranked], order: Layout, draws: Sequence[int], originals: Originals, start: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    images = len(results[0].rank)
    ids = originals.ids[start : start + images]
    views = [view for view, name in enumerate(order.views) if name != ORIGINAL]
    nearest = results[order.views.index(ORIGINAL)]
    count = neighbours_counted(originals.searched - 1)
    columns = {
        "image_id": ids.gather(np.repeat(np.arange(images), len(views))),
        "view": [order.views[view] for view in views] * images,
        "draw": [draws[view] for view in views] * images,
        "rank": _interleaved(results[view].rank for view in views),
        "cosine": _interleaved(results[view].cosine for view in views),
        "other": _ids(originals, _interleaved(_first_column(results[view].positions, -1) for view in views)),
        "other_cosine": _interleaved(_first_column(results[view].others, np.nan) for view in views),
        "knn_overlap": _interleaved(overlap(nearest.positions, results[view].positions, count) for view in views),
    }
    ranks = pl.DataFrame(columns, schema_overrides=RANKS_SCHEMA).fill_nan(None)
    ranks = ranks.with_columns(pl.when(pl.col("rank") > 0).then("rank"))
    width = min(NEIGHBOURS, nearest.positions.shape[1])
    neighbour_columns = {
        "image_id": ids.gather(np.repeat(np.arange(images), width)),
        "other": _ids(originals, nearest.positions[:, :width].ravel()),
        "cosine": nearest.others[:, :width].ravel(),
    }
    neighbours = pl.DataFrame(neighbour_columns, schema_overrides=NEIGHBOURS_SCHEMA).drop_nulls("other")
    return ranks.select(*RANKS_SCHEMA), neighbours


def _interleaved(columns: Iterable[NDArray[Any]]) -> NDArray[Any]:
    return np.stack(list(columns), axis=1).ravel()


def _first_column(values: NDArray[Any], default: float) -> NDArray[Any]:
    return values[:, 0] if values.shape[1] else np.full(len(values), default)


def _ids(originals: Originals, positions: NDArray[Any]) -> pl.Series:
    ids = originals.ids.gather(np.maximum(positions, 0).astype(np.int64))
    return pl.select(pl.when(pl.Series(positions >= 0)).then(ids)).to_series()


def first_results(ranked: Ranked, count: int) -> Positions:
    """Returns the positions of the first results of each query, its own original among them; -1 if there are fewer."""
    own = np.arange(len(ranked.rank))
    columns = np.arange(min(count, ranked.positions.shape[1] + 1))
    rank = np.where(ranked.rank > 0, ranked.rank, count + 1)[:, None]
    others = np.pad(ranked.positions, ((0, 0), (0, 1)), constant_values=-1)
    results = np.take_along_axis(others, columns - (columns >= rank), axis=1)
    return np.where(columns == rank - 1, own[:, None], results)


def hubs(results: Mapping[str, Positions], names: Sequence[str], images: int) -> pl.DataFrame:
    sides = [(name, side, view) for name in names for side, view in (("original", ORIGINAL), ("view", name))]
    rows = [(name, side, *hub(results[view], images)) for name, side, view in sides]
    schema = {"augmentation": pl.String, "side": pl.String, "largest": pl.Float64, "skewness": pl.Float64}
    return pl.DataFrame(rows, schema, orient="row").fill_nan(None)


def hub(results: Positions, images: int) -> tuple[float, float]:
    """The largest fraction of queries `[q, k]` with one first result; skewness of k-occurrences (Radovanović 2010)."""
    results = results[(results >= 0).any(axis=1)]
    if not results.size:
        return float("nan"), float("nan")
    off = np.bincount(results[results >= 0], minlength=images) - (results >= 0).sum() / images
    skewness = (off**3).mean() / ((off**2).mean() or np.nan) ** 1.5
    return float(np.bincount(results[:, 0]).max() / len(results)), float(skewness)
