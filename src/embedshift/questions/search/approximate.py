"""Approximate search by FAISS for large galleries; its recall is measured against exact search."""

import functools
import logging
import time
from typing import Any

import numpy as np

from embedshift.arrays import Floats, Values
from embedshift.questions.search.prediction import KEPT
from embedshift.questions.search.ranks import NEIGHBOURS, Look
from embedshift.statistics.retrieval import TIE, Gallery, Places, Ranked, search

log = logging.getLogger(__name__)

# Images from which FAISS searches.
FROM = 200_000
# Cells that are looked into per query, and vectors a cell is trained by at most.
PROBES, TRAINED_BY = 64, 64
# Queries by which its recall is measured.
CHECKED = 256


def searcher(gallery: Gallery, *, views: int, least: int = FROM) -> Look:
    """Returns the search function for a gallery: exact, or FAISS from `least` vectors on, if it is installed."""
    exact: Look = functools.partial(_exact, gallery)
    if len(gallery) < least:
        return exact
    started = time.monotonic()
    try:
        import faiss
    except ImportError:
        places = np.arange(min(CHECKED, len(gallery)))
        exact(np.asarray(gallery.vectors[places]), places, NEIGHBOURS)
        minutes = (time.monotonic() - started) / len(places) * views / 60
        words = (
            "exact search for %d views among %d images takes about %.0f min; the extra 'search' installs a faster one"
        )
        log.info(words, views, len(gallery), max(1, minutes))
        return exact
    index = _index(faiss, gallery)
    near: Look = functools.partial(_approximate, gallery, index)
    recall = measured_recall(gallery, near)
    words = "FAISS index of %d images built in %.0f s; it finds %.4f of the %d nearest images (%d queries)"
    log.info(words, len(gallery), time.monotonic() - started, recall, NEIGHBOURS, min(CHECKED, len(gallery)))
    return near


def measured_recall(gallery: Gallery, look: Look) -> float:
    """Returns the proportion of the exact ten nearest that a search finds, for the first vectors of the gallery."""
    places = np.arange(min(CHECKED, len(gallery)))
    queries = np.asarray(gallery.vectors[places])
    found, true = (each(queries, places, NEIGHBOURS).places for each in (look, functools.partial(_exact, gallery)))
    hits = (found[:, :, None] == true[:, None, :]) & (true >= 0)[:, None, :]
    return float(hits.any(axis=1).sum() / max(1, (true >= 0).sum()))


def _exact(gallery: Gallery, queries: Floats, own: Places, others: int) -> Ranked:
    return search(queries, own, gallery, count=others)


def _index(faiss: Any, gallery: Gallery) -> Any:
    """Returns an index of unit vectors in cells around centres trained on the first vectors."""
    cells = max(1, min(int(4 * len(gallery) ** 0.5), len(gallery) // TRAINED_BY))
    dim = gallery.vectors.shape[1]
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, cells, faiss.METRIC_INNER_PRODUCT)
    index.nprobe = min(PROBES, cells)
    blocks = [block for start, block, _ in gallery.blocks() if start < cells * TRAINED_BY]
    index.train(np.concatenate(blocks)[: cells * TRAINED_BY])
    for _, block, _ in gallery.blocks():
        index.add(block)
    return index


def _approximate(gallery: Gallery, index: Any, queries: Floats, own: Places, others: int) -> Ranked:
    """Behaves as `search`, from the nearest vectors that the index finds; searches exactly for a view beyond them."""
    raw = np.asarray(queries, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        units = raw / np.linalg.norm(raw, axis=-1, keepdims=True)
    known = np.isfinite(units).all(axis=-1)
    cosine = gallery.cosines(units, own)
    _, found = index.search(np.nan_to_num(units).astype(np.float32), max(others, KEPT) + 1)
    places = np.where((found == own[:, None]) | ~known[:, None] | (gallery.lengths[found] == 0), -1, found).astype(
        np.int64
    )
    cosines = _cosines(gallery, units, places)
    order = np.lexsort((places, -np.where(places >= 0, np.round(cosines, 12), -np.inf)), axis=1)
    places, cosines = np.take_along_axis(places, order, 1), np.take_along_axis(cosines, order, 1)
    with np.errstate(invalid="ignore"):
        better = ((cosines >= cosine[:, None] - TIE) & (places >= 0)).sum(axis=1)
    rank = np.where(np.isfinite(cosine), 1 + better, 0)
    # All found vectors are nearer, so the remaining ones are counted.
    deep = np.flatnonzero((rank > 0) & (better >= (places >= 0).sum(axis=1)))
    if len(deep):
        rank[deep] = search(queries[deep], own[deep], gallery, count=0).rank
    return Ranked(rank, cosine, cosines[:, :others], places[:, :others])


def _cosines(gallery: Gallery, units: Values, places: Places) -> Values:
    """Returns exact cosines `[q, T]`; NaN if there is no place."""
    found = np.full(places.shape, np.nan)
    for row, own in enumerate(places):
        found[row, own >= 0] = gallery.cosines(units[row], own[own >= 0])
    return found
