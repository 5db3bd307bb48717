"""The tables of the search: ranks of every view, recall, thresholds for duplicates, and larger galleries."""

import functools

import polars as pl

from embedshift.questions.search import Choices, recall
from embedshift.questions.search.approximate import searcher
from embedshift.questions.search.ranks import Found, find
from embedshift.questions.search.settings import settings
from embedshift.questions.search.vectors import originals
from embedshift.store.reader import Reader
from embedshift.store.tables import Table

# What a study must have for them, in words.
TAKES = "stored embeddings: run it with `store` all"
# Rows of `duplicates` at most.
LISTED = 10_000


@functools.lru_cache(maxsize=1)
def found(reader: Reader) -> Found:
    """The search, once for the tables that are made from it."""
    made = settings(reader)
    among = originals(reader, reader.choice(Choices).gallery or "")
    return find(reader, among, made.queries, searcher(among.gallery))


def search(reader: Reader) -> pl.DataFrame:
    """Recall, mean reciprocal rank, overlap of neighbours and area under the curve, by augmentation.

    Returns:
        `augmentation, metric, n, value, ci_low, ci_high`; n counts views.
    """
    ranks = _need(reader, "search_ranks")
    parts = ranks.partition_by("view", as_dict=True, maintain_order=True)
    return recall.table({name: recall.of_view(parts[name,], seed=reader.info.seed) for name in reader.augmentations})


def _need(reader: Reader, name: str) -> pl.DataFrame:
    table = reader.table(name)
    assert table is not None
    return table


def _of_search(reader: Reader) -> dict[str, str]:
    return settings(reader).of_search


TABLES = (
    Table(
        "search_ranks",
        lambda reader: found(reader).ranks,
        possible=lambda reader: reader.info.has_vectors,
        takes=TAKES,
        labels=_of_search,
        of_images=True,
    ),
    Table(
        "search_neighbours",
        lambda reader: found(reader).neighbours,
        possible=lambda reader: reader.info.has_vectors,
        takes=TAKES,
        labels=_of_search,
        of_images=True,
    ),
    Table(
        "search",
        search,
        reads=("search_ranks",),
        possible=lambda reader: reader.info.has_vectors,
        takes=TAKES,
        labels=_of_search,
    ),
)
