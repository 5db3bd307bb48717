"""A search function for a gallery: exact, or by FAISS in a large one, whose own recall it says."""

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from embedshift.arrays import Floats
from embedshift.statistics.agreement import NEIGHBOURS
from embedshift.statistics.retrieval import TIE, Gallery, Positions, Ranked, exactly_ordered, search

log = logging.getLogger(__name__)

# Queries `[q, D]`, positions of their own originals `[q]`, number of neighbours → ranks and neighbours.
SearchFunction = Callable[[Floats, Positions, int], Ranked]
# Highest cosines with other images that are kept of each query.
KEPT = 64
# The least vectors of a gallery that FAISS searches.
LEAST_GALLERY = 200_000
# Cells that a query searches, and the most vectors by which a cell is trained.
CELLS_SEARCHED, VECTORS_PER_CELL = 64, 64
# Images of a query's own group beyond which its nearest others may be fewer than wanted.
MOST_OF_GROUP = 1_024
# Queries by which its recall is measured.
RECALL_QUERIES = 256


def search_function(gallery: Gallery, *, views: int, least: int = LEAST_GALLERY) -> SearchFunction:
    """Returns the search function for a gallery: exact, or FAISS from `least` vectors on, if it is installed."""

    def exact(queries: Floats, originals: Positions, count: int) -> Ranked:
        return search(queries, originals, gallery, count=count)

    if len(gallery) * gallery.several < least:
        return exact
    started = time.monotonic()
    try:
        import faiss
    except ImportError:
        positions = np.arange(min(RECALL_QUERIES, len(gallery)))
        exact(gallery.whole(positions), positions, NEIGHBOURS)
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
    queries = gallery.whole(positions)
    approximate = function(queries, positions, NEIGHBOURS).positions
    exact = search(queries, positions, gallery, count=NEIGHBOURS).positions
    hits = (approximate[:, :, None] == exact[:, None, :]) & (exact >= 0)[:, None, :]
    return float(hits.any(axis=1).sum() / max(1, (exact >= 0).sum()))


def _index(faiss: Any, gallery: Gallery) -> Any:
    count, dim = len(gallery) * gallery.several, gallery.vectors.shape[-1]
    cells = max(1, min(int(4 * count**0.5), count // VECTORS_PER_CELL))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, cells, faiss.METRIC_INNER_PRODUCT)
    index.nprobe = min(CELLS_SEARCHED, cells)
    last = cells * VECTORS_PER_CELL
    blocks = [block.reshape(-1, dim) for start, block, _ in gallery.blocks() if start * gallery.several < last]
    index.train(np.concatenate(blocks)[:last])
    for _, block, _ in gallery.blocks():
        index.add(block.reshape(-1, dim))
    return index


def _once(places: Positions) -> Positions:
    """Returns the first of each image in a row; -1 for its others."""
    order = np.argsort(places, axis=1, kind="stable")
    ordered = np.take_along_axis(places, order, axis=1)
    once = ordered.copy()
    once[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = -1
    result = np.empty_like(places)
    np.put_along_axis(result, order, once, axis=1)
    return result


def _approximate(gallery: Gallery, index: Any, queries: Floats, originals: Positions, count: int) -> Ranked:
    """Behaves as `search`, from the nearest vectors that the index finds; searches exactly for a view beyond them."""
    raw = np.asarray(queries, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        directions = raw / np.linalg.norm(raw, axis=-1, keepdims=True)
    has_direction = np.isfinite(directions).all(axis=-1)
    cosine = gallery.cosines(directions, originals)
    groups = np.arange(len(gallery)) if gallery.groups is None else gallery.groups
    own = min(MOST_OF_GROUP, int(np.bincount(groups).max()))
    wanted = (max(count, KEPT) + own) * gallery.several
    _, found = index.search(np.nan_to_num(directions).astype(np.float32), wanted)
    images, is_none = found // gallery.several, gallery.lengths.ravel()[found] == 0
    same = groups[images] == groups[originals][:, None]
    places = np.where(same | ~has_direction[:, None] | is_none, -1, images).astype(np.int64)
    places = places if gallery.several == 1 else _once(places)
    cosines, places = exactly_ordered(directions, places, gallery)
    with np.errstate(invalid="ignore"):
        better = ((cosines >= cosine[:, None] - TIE) & (places >= 0)).sum(axis=1)
    rank = np.where(np.isfinite(cosine), 1 + better, 0)
    # All found vectors are nearer, so the remaining ones are counted.
    deep = np.flatnonzero((rank > 0) & (better >= (places >= 0).sum(axis=1)))
    if len(deep):
        rank[deep] = search(queries[deep], originals[deep], gallery, count=0).rank
    return Ranked(rank, cosine, cosines[:, :count], places[:, :count])
