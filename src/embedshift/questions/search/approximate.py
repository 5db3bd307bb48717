"""Approximate search by FAISS for large galleries; its recall is measured against exact search."""

import functools
import logging
import time
from typing import Any

import numpy as np

from embedshift.arrays import Floats, Values
from embedshift.questions.search.prediction import KEPT
from embedshift.questions.search.ranks import SearchFunction
from embedshift.statistics.agreement import NEIGHBOURS
from embedshift.statistics.retrieval import TIE, Gallery, Positions, Ranked, search

log = logging.getLogger(__name__)

# The smallest gallery that FAISS searches.
LEAST_GALLERY = 200_000
# Cells that a query searches, and the most vectors by which a cell is trained.
CELLS_SEARCHED, VECTORS_PER_CELL = 64, 64
# Images of a query's own group beyond which its nearest others may be fewer than wanted.
MOST_OF_GROUP = 1_024
# Queries by which its recall is measured.
RECALL_QUERIES = 256


def search_function(gallery: Gallery, *, views: int, least: int = LEAST_GALLERY) -> SearchFunction:
    """Returns the search function for a gallery: exact, or FAISS from `least` vectors on, if it is installed."""
    exact: SearchFunction = functools.partial(_exact, gallery)
    if len(gallery) < least:
        return exact
    started = time.monotonic()
    try:
        import faiss
    except ImportError:
        positions = np.arange(min(RECALL_QUERIES, len(gallery)))
        exact(np.asarray(gallery.vectors[positions]), positions, NEIGHBOURS)
        minutes = (time.monotonic() - started) / len(positions) * views / 60
        message = (
            "exact search for %d views among %d images takes about %.0f min; the extra 'search' installs a faster one"
        )
        log.info(message, views, len(gallery), max(1, minutes))
        return exact
    index = _index(faiss, gallery)
    approximate: SearchFunction = functools.partial(_approximate, gallery, index)
    recall = measured_recall(gallery, approximate)
    message = "FAISS index of %d images built in %.0f s; it finds %.4f of the %d nearest images (%d queries)"
    log.info(message, len(gallery), time.monotonic() - started, recall, NEIGHBOURS, min(RECALL_QUERIES, len(gallery)))
    return approximate


def measured_recall(gallery: Gallery, function: SearchFunction) -> float:
    """Returns the proportion of the exact ten nearest that a search finds, for the first vectors of the gallery."""
    positions = np.arange(min(RECALL_QUERIES, len(gallery)))
    queries = np.asarray(gallery.vectors[positions])
    approximate = function(queries, positions, NEIGHBOURS).positions
    exact = _exact(gallery, queries, positions, NEIGHBOURS).positions
    hits = (approximate[:, :, None] == exact[:, None, :]) & (exact >= 0)[:, None, :]
    return float(hits.any(axis=1).sum() / max(1, (exact >= 0).sum()))


def _exact(gallery: Gallery, queries: Floats, originals: Positions, count: int) -> Ranked:
    return search(queries, originals, gallery, count=count)


def _index(faiss: Any, gallery: Gallery) -> Any:
    cells = max(1, min(int(4 * len(gallery) ** 0.5), len(gallery) // VECTORS_PER_CELL))
    dim = gallery.vectors.shape[1]
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, cells, faiss.METRIC_INNER_PRODUCT)
    index.nprobe = min(CELLS_SEARCHED, cells)
    blocks = [block for start, block, _ in gallery.blocks() if start < cells * VECTORS_PER_CELL]
    index.train(np.concatenate(blocks)[: cells * VECTORS_PER_CELL])
    for _, block, _ in gallery.blocks():
        index.add(block)
    return index


def _approximate(gallery: Gallery, index: Any, queries: Floats, originals: Positions, count: int) -> Ranked:
    """Behaves as `search`, from the nearest vectors that the index finds; searches exactly for a view beyond them."""
    raw = np.asarray(queries, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        directions = raw / np.linalg.norm(raw, axis=-1, keepdims=True)
    has_direction = np.isfinite(directions).all(axis=-1)
    cosine = gallery.cosines(directions, originals)
    groups = np.arange(len(gallery)) if gallery.groups is None else gallery.groups
    own = min(MOST_OF_GROUP, int(np.bincount(groups).max()))
    _, indices = index.search(np.nan_to_num(directions).astype(np.float32), max(count, KEPT) + own)
    same = groups[indices] == groups[originals][:, None]
    places = np.where(same | ~has_direction[:, None] | (gallery.lengths[indices] == 0), -1, indices).astype(np.int64)
    cosines = _cosines(gallery, directions, places)
    order = np.lexsort((places, -np.where(places >= 0, np.round(cosines, 12), -np.inf)), axis=1)
    places, cosines = np.take_along_axis(places, order, 1), np.take_along_axis(cosines, order, 1)
    with np.errstate(invalid="ignore"):
        better = ((cosines >= cosine[:, None] - TIE) & (places >= 0)).sum(axis=1)
    rank = np.where(np.isfinite(cosine), 1 + better, 0)
    # All found vectors are nearer, so the remaining ones are counted.
    deep = np.flatnonzero((rank > 0) & (better >= (places >= 0).sum(axis=1)))
    if len(deep):
        rank[deep] = search(queries[deep], originals[deep], gallery, count=0).rank
    return Ranked(rank, cosine, cosines[:, :count], places[:, :count])


def _cosines(gallery: Gallery, directions: Values, places: Positions) -> Values:
    cosines = np.full(places.shape, np.nan)
    for row, positions in enumerate(places):
        cosines[row, positions >= 0] = gallery.cosines(directions[row], positions[positions >= 0])
    return cosines
