"""The tables of the search: ranks of every view, recall, thresholds for duplicates, and larger galleries."""

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.questions.search import Choices, matching, pairs, recall
from embedshift.questions.search.approximate import searcher
from embedshift.questions.search.prediction import gallery_sizes
from embedshift.questions.search.ranks import Found, find
from embedshift.questions.search.settings import QUERIES, settings
from embedshift.questions.search.vectors import originals
from embedshift.statistics.sample import IN_MEMORY
from embedshift.store.naming import GALLERY
from embedshift.store.reader import Reader
from embedshift.store.tables import Table

NEAR = 1e-7
log = logging.getLogger(__name__)

# What a study must have for these tables, as text.
REQUIRES = "stored embeddings: run it with `store` all"
# Images whose pairs are all made; the number if a rate needs more; and the most rows of `duplicates`.
PAIRED, MOST_PAIRED, LISTED = QUERIES, IN_MEMORY, 10_000
# Columns that hold names of images.
NAMES = ("image_id", "other")
DUPLICATES: dict[str, type[pl.DataType]] = {"image_id": pl.String, "other": pl.String, "cosine": pl.Float64}


@functools.lru_cache(maxsize=1)
def found(reader: Reader) -> Found:
    """Returns the search, computed once for all tables that use it."""
    made = settings(reader)
    if made.lost:
        log.warning("the search is repeated without the previous gallery; to keep it, give it as `gallery`")
    among, queries = originals(reader, reader.choice(Choices).gallery or ""), made.queries
    views = min(queries or among.images, among.images) * (1 + len(reader.augmentations) * reader.info.draws)
    return find(reader, among, queries, searcher(among.gallery, views=views))


def search(reader: Reader) -> pl.DataFrame:
    """Returns recall, mean reciprocal rank, overlap of neighbours and area under the curve, by augmentation."""
    parts = _need(reader, "search_ranks").partition_by("view", as_dict=True, maintain_order=True)
    by_ranks = recall.table(
        {name: recall.of_view(parts[name,], seed=reader.info.seed) for name in reader.augmentations}
    )
    count = _compared(reader)
    made = pl.concat([by_ranks, matching.auc(cosines(reader, count), different(reader, count))])
    place = {name: place for place, name in enumerate(reader.augmentations)}
    order = pl.col("augmentation").replace_strict(place, return_dtype=pl.Int64)
    return made.sort(order, maintain_order=True)


def thresholds(reader: Reader) -> pl.DataFrame:
    """Returns the cosines above which two images count as the same: `false_match_rate, threshold, ci_low, ci_high`."""
    rates = settings(reader).false_match_rates
    for_pairs = different(reader, PAIRED if min(rates) >= pairs.least_false_match_rate(PAIRED) else MOST_PAIRED)
    if not reader.choice(Choices).false_match_rate:
        rates = tuple(rate for rate in rates if rate >= pairs.least_false_match_rate(for_pairs.images))
    return pairs.thresholds(for_pairs, rates, reader.info.seed)


def matches(reader: Reader) -> pl.DataFrame:
    """Returns the proportion of views that reach each threshold with their own original."""
    return matching.matches(cosines(reader), _need(reader, "thresholds"))


def roc(reader: Reader) -> pl.DataFrame:
    """Returns the proportion of views that match, by false-match rate: `augmentation, false_match_rate, tpr`."""
    count = _compared(reader)
    return matching.roc(cosines(reader, count), different(reader, count))


def duplicates(reader: Reader) -> pl.DataFrame:
    """Returns pairs of different images whose cosine reaches the strictest threshold, the most similar first."""
    known, neighbours = (
        _need(reader, "thresholds").sort("false_match_rate")["threshold"],
        _need(reader, "search_neighbours"),
    )
    if known.is_empty():
        return pl.DataFrame(schema=DUPLICATES)
    for_pairs = different(reader, PAIRED)
    strictest = known.drop_nulls().head(1).to_list()
    least = strictest[0] if strictest else float(for_pairs.cosines[0])
    ids = reader.rows().filter(pl.col("view") == ORIGINAL).select("image_id").head(PAIRED).collect()["image_id"]
    first, second, cosine = pairs.above(for_pairs, least)
    exact = pl.DataFrame({"image_id": ids.gather(first), "other": ids.gather(second), "cosine": cosine.astype(float)})
    # The threshold is the cosine of a pair in float32.
    near = neighbours.filter(pl.col("cosine") >= least - NEAR, ~pl.col("other").str.starts_with(GALLERY))
    both = pl.concat([exact, near.select(*DUPLICATES)], how="vertical_relaxed")
    # The image whose name comes first is named first: a pair may be found from both sides.
    one, other = pl.min_horizontal("image_id", "other"), pl.max_horizontal("image_id", "other")
    once = both.select(one.alias("image_id"), other.alias("other"), "cosine").unique(
        ["image_id", "other"], keep="first", maintain_order=True
    )
    return once.sort("cosine", descending=True, maintain_order=True).head(LISTED)


@functools.lru_cache(maxsize=1)
def different(reader: Reader, count: int) -> pairs.Pairs:
    """Returns all pairs of the first originals."""
    rows = reader.rows().filter(pl.col("view") == ORIGINAL).select("embedding").head(count)
    return pairs.pairs_of(rows.collect()["embedding"].to_numpy())


def cosines(reader: Reader, count: int | None = None) -> Mapping[str, Values]:
    """Returns augmentation → cosines of views with their originals `[m, draws]`, for the first images or all."""
    ranks, draws = _need(reader, "search_ranks"), reader.info.draws
    parts = ranks.partition_by("view", as_dict=True, maintain_order=True)
    return {name: recall.by_image(parts[name,]["cosine"], draws)[:count] for name in reader.augmentations}


def _compared(reader: Reader) -> int:
    """Returns the number of images whose views and pairs are compared."""
    return min(settings(reader).queries or PAIRED, PAIRED)


def _need(reader: Reader, name: str) -> pl.DataFrame:
    table = reader.table(name)
    assert table is not None
    return table


def _of_search(reader: Reader) -> dict[str, str]:
    return settings(reader).of_search


def _of_thresholds(reader: Reader) -> dict[str, str]:
    return settings(reader).of_thresholds


def _table(
    name: str,
    make: Callable[[Reader], pl.DataFrame],
    *reads: str,
    labels: Callable[[Reader], Mapping[str, str]] = _of_search,
    **more: Any,
) -> Table:
    return Table(name, make, reads, lambda reader: reader.info.has_vectors, requires=REQUIRES, labels=labels, **more)


TABLES = (
    _table("search_ranks", lambda reader: found(reader).ranks, per_image=True, names=NAMES),
    _table("search_neighbours", lambda reader: found(reader).neighbours, per_image=True, names=NAMES),
    _table("gallery_sizes", lambda reader: gallery_sizes(found(reader).searches)),
    _table("search", search, "search_ranks"),
    _table("thresholds", thresholds, "search_ranks", labels=_of_thresholds),
    _table("matches", matches, "search_ranks", "thresholds", labels=_of_thresholds),
    _table("roc", roc, "search_ranks"),
    _table("duplicates", duplicates, "search_neighbours", "thresholds", labels=_of_thresholds, names=NAMES),
)
