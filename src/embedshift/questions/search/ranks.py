"""Searches for every view among the originals: ranks, images found instead, and kept neighbours."""

import functools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from embedshift.arrays import Floats, Values
from embedshift.augmentations import ORIGINAL
from embedshift.config.machine import cores
from embedshift.questions.search.prediction import KEPT, Search
from embedshift.questions.search.vectors import Originals
from embedshift.statistics.layout import Layout, blocks, layout
from embedshift.statistics.retrieval import Places, Ranked
from embedshift.store.reader import Reader

# Neighbours that are compared before and after, and images from which larger galleries are predicted.
NEIGHBOURS, PREDICTED_FROM = 10, 2_000
RANKS_SCHEMA: dict[str, type[pl.DataType]] = {
    "image_id": pl.String,
    "view": pl.String,
    "draw": pl.Int64,
    "rank": pl.Int64,
    "cosine": pl.Float64,
    "other": pl.String,
    "other_cosine": pl.Float64,
    "knn_overlap": pl.Float64,
}
NEIGHBOURS_SCHEMA: dict[str, type[pl.DataType]] = {"image_id": pl.String, "other": pl.String, "cosine": pl.Float64}

# Queries `[q, D]`, places of their own originals `[q]`, how many others → what was found.
Look = Callable[[Floats, Places, int], Ranked]


@dataclass(frozen=True)
class Found:
    """The results of a study's search."""

    ranks: pl.DataFrame
    neighbours: pl.DataFrame
    searches: dict[str, Search]


def find(reader: Reader, among: Originals, queries: int | None, look: Look) -> Found:
    """Searches for the originals of views."""
    rows = reader.rows()
    order = layout(rows)
    count = order.images if queries is None else min(queries, order.images)
    part = rows.head(count * len(order.views)).select("view", "draw", "embedding")
    tables: list[tuple[pl.DataFrame, pl.DataFrame]] = []
    kept: dict[str, list[Search]] = {name: [] for name in reader.augmentations}
    start = 0
    # Threads beside each other, each with a product of its own: by a quarter faster than products that share the cores.
    with ThreadPoolExecutor(_threads()) as pool, threadpool_limits(1):
        for block in blocks(part, len(order.views)):
            predicted = start < PREDICTED_FROM
            vectors = block["embedding"].to_numpy()
            vectors = vectors.reshape(-1, len(order.views), vectors.shape[-1])
            places = np.arange(start, start + len(vectors))
            one = functools.partial(_view, look, vectors, places, KEPT if predicted else NEIGHBOURS)
            found = list(pool.map(one, range(len(order.views))))
            tables.append(_rows(found, order, block["draw"][: len(order.views)].to_list(), among, start))
            for name in kept if predicted else ():
                kept[name].append(_search([found[place] for place in order.positions(name)], len(among.gallery)))
            start += len(vectors)
    return Found(
        ranks=pl.concat(each for each, _ in tables),
        neighbours=pl.concat(each for _, each in tables),
        searches={name: _joined(parts) for name, parts in kept.items()},
    )


def _search(draws: Sequence[Ranked], images: int) -> Search:
    """Combines the draws of one augmentation of some images."""
    rank, own, others = (np.stack([getattr(each, name) for each in draws], 1) for name in ("rank", "cosine", "others"))
    known = rank > 0
    return Search(np.where(known, rank, np.nan), np.where(known, own, np.nan), np.nan_to_num(others, nan=-1.0), images)


def _joined(parts: Sequence[Search]) -> Search:
    rank, own, others = (np.concatenate([getattr(each, name) for each in parts]) for name in ("ranks", "own", "others"))
    return Search(rank[:PREDICTED_FROM], own[:PREDICTED_FROM], others[:PREDICTED_FROM], parts[0].images)


def _view(look: Look, vectors: Floats, places: Places, others: int, view: int) -> Ranked:
    """Returns the results for one view of some images, `[b, V, D]`."""
    return look(vectors[:, view], places, others)


def _rows(
    found: Sequence[Ranked], order: Layout, draws: Sequence[int], among: Originals, start: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns the rows of both tables, image by image."""
    images = len(found[0].rank)
    ids = among.ids[start : start + images]
    views = [place for place, name in enumerate(order.views) if name != ORIGINAL]
    nearest = found[order.views.index(ORIGINAL)]
    columns = {
        "image_id": ids.gather(np.repeat(np.arange(images), len(views))),
        "view": [order.views[place] for place in views] * images,
        "draw": [draws[place] for place in views] * images,
        "rank": _beside(found[place].rank for place in views),
        "cosine": _beside(found[place].cosine for place in views),
        "other": _names(among, _beside(_first(found[place].places, -1) for place in views)),
        "other_cosine": _beside(_first(found[place].others, np.nan) for place in views),
        "knn_overlap": _beside(overlap(nearest.places, found[place].places) for place in views),
    }
    ranks = pl.DataFrame(columns, schema_overrides=RANKS_SCHEMA).fill_nan(None)
    ranks = ranks.with_columns(pl.when(pl.col("rank") > 0).then("rank"))
    width = min(NEIGHBOURS, nearest.places.shape[1])
    beside = {
        "image_id": ids.gather(np.repeat(np.arange(images), width)),
        "other": _names(among, nearest.places[:, :width].ravel()),
        "cosine": nearest.others[:, :width].ravel(),
    }
    neighbours = pl.DataFrame(beside, schema_overrides=NEIGHBOURS_SCHEMA).drop_nulls("other")
    return ranks.select(*RANKS_SCHEMA), neighbours


def overlap(before: Places, after: Places) -> Values:
    """Returns the proportion of the ten nearest other images that stay among the ten nearest: `[q, T]` each → `[q]`."""
    one, two = before[:, :NEIGHBOURS], after[:, :NEIGHBOURS]
    there = (one >= 0).sum(axis=1)
    both = ((one[:, :, None] == two[:, None, :]) & (one >= 0)[:, :, None]).any(axis=2).sum(axis=1)
    known = (there > 0) & (two >= 0).any(axis=1) if two.shape[1] else np.zeros(len(one), bool)
    return np.where(known, both / np.maximum(there, 1), np.nan)


def _beside(columns: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """Interleaves one column per view into one column, image by image."""
    return np.stack(list(columns), axis=1).ravel()


def _first(values: NDArray[Any], nothing: float) -> NDArray[Any]:
    return values[:, 0] if values.shape[1] else np.full(len(values), nothing)


def _names(among: Originals, places: NDArray[Any]) -> pl.Series:
    """Returns the names of places; null for -1."""
    names = among.ids.gather(np.maximum(places, 0).astype(np.int64))
    return pl.select(pl.when(pl.Series(places >= 0)).then(names)).to_series()


def _threads() -> int:
    """Returns the number of threads: one per core, up to a limit, because each holds cosines of 17 MB."""
    return min(16, cores())
