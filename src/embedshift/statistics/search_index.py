"""FAISS' index over a large set of vectors: a search among them, and the pairs that are near. It says its own recall.

Cells of vectors are compared by their codes, in bounded memory; what they find is decided by exact cosines.
"""

import functools
import importlib.util
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedshift.arrays import Floats, release_memory
from embedshift.statistics.agreement import NEIGHBOURS
from embedshift.statistics.retrieval import TIE, Gallery, Positions, Ranked, exactly_ordered, search

log = logging.getLogger(__name__)

# Queries `[q, D]`, positions of their own originals `[q]`, number of neighbours → ranks and neighbours.
SearchFunction = Callable[[Floats, Positions, int], Ranked]
# Highest cosines with other images that are kept of each query; by coarse codes more of them are found first.
KEPT, KEPT_OF_COARSE = 64, 512
# The least vectors of a gallery that FAISS searches; and of images whose pairs it finds.
LEAST_GALLERY, LEAST_PAIRED = 200_000, 20_001
# Cells that a query searches at least, and one in how many; vectors that one is compared with where pairs are found.
CELLS_SEARCHED, PART_SEARCHED, COMPARED = 64, 16, 4_096
# Vectors and rounds that train a cell.
VECTORS_PER_CELL, ROUNDS = 40, 5
# Each vector is compared with the centres of all cells.
MOST_CELLS = 8_192
# Gigabytes of an index, unless the user chooses, and how much of them a list that grows may hold in vain.
MEMORY, GROWTH = 4.0, 1.5
# Images of a query's own group beyond which its nearest others may be fewer than wanted.
MOST_OF_GROUP = 1_024
# Queries by which its recall is measured; those by which that of pairs is, and the least pairs.
RECALL_QUERIES, RECALL_IMAGES, RECALL_PAIRS = 256, 512, 50
# Images whose pairs are looked for at once, and vectors by which the errors of codes are measured.
BATCH, CODED = 1_024, 4_096


def has_faiss() -> bool:
    return importlib.util.find_spec("faiss") is not None


def search_function(
    gallery: Gallery, *, views: int, least: int = LEAST_GALLERY, memory: float | None = None
) -> SearchFunction:
    """Returns the search function for a gallery: exact, or FAISS from `least` vectors on, if it is installed.

    Its index takes `memory` gigabytes at most; the gallery itself may be a mapped file.
    """

    def exact(queries: Floats, originals: Positions, count: int) -> Ranked:
        return search(queries, originals, gallery, count=count)

    if len(gallery) < least:
        return exact
    started = time.monotonic()
    if not has_faiss():
        positions = np.arange(min(RECALL_QUERIES, len(gallery)))
        exact(gallery.vectors[positions], positions, NEIGHBOURS)
        minutes = (time.monotonic() - started) / len(positions) * views / 60
        message = (
            "exact search for %d views among %d images takes about %.0f min; the extra 'search' installs a faster one"
        )
        log.info(message, views, len(gallery), max(1, minutes))
        return exact
    index, code = _index(gallery, memory or MEMORY)
    index.nprobe = min(max(CELLS_SEARCHED, index.nlist // PART_SEARCHED), index.nlist)
    groups = np.arange(len(gallery)) if gallery.groups is None else gallery.groups
    more = KEPT if code == FINE else KEPT_OF_COARSE
    own = min(MOST_OF_GROUP, 1 if gallery.groups is None else int(np.bincount(groups).max()))
    approximate: SearchFunction = functools.partial(_approximate, gallery, groups, index, more, own)
    recall = measured_recall(gallery, approximate)
    message = "FAISS index of %d images (%s) built in %.0f s; it finds %.4f of the %d nearest images (%d queries)"
    seconds, queries = time.monotonic() - started, min(RECALL_QUERIES, len(gallery))
    log.info(message, len(gallery), code, seconds, recall, NEIGHBOURS, queries)
    return approximate


def measured_recall(gallery: Gallery, function: SearchFunction) -> float:
    """Returns the proportion of the exact ten nearest that a search finds, for the first vectors of the gallery."""
    positions = np.arange(min(RECALL_QUERIES, len(gallery)))
    queries = gallery.vectors[positions]
    approximate = function(queries, positions, NEIGHBOURS).positions
    exact = search(queries, positions, gallery, count=NEIGHBOURS).positions
    hits = (approximate[:, :, None] == exact[:, None, :]) & (exact >= 0)[:, None, :]
    return float(hits.any(axis=1).sum() / max(1, (exact >= 0).sum()))


# FAISS' names of the codes: a byte, half a byte a number.
FINE, HALF = "SQ8", "SQ4"


def code_within(memory: float, count: int, dim: int) -> str:
    """Returns FAISS' name of the finest code of vectors that fits into gigabytes, beside 8 bytes for each position."""
    room = memory * 1e9 / count / GROWTH - 8
    parts = max((size for size in range(1, dim + 1) if dim % size == 0 and size <= room), default=1)
    return FINE if room >= dim else HALF if room >= dim / 2 else f"PQ{parts}"


def _index(gallery: Gallery, memory: float) -> tuple[Any, str]:
    import faiss

    count, dim = gallery.vectors.shape
    cells = max(1, min(int(4 * count**0.5), count // VECTORS_PER_CELL, MOST_CELLS))
    code = code_within(memory, count, dim)
    # "np": FAISS need not order its codes for a search by bits, which nobody makes; that takes seconds for each part.
    factory = f"IVF{cells},{code}" + "np" * code.startswith("PQ")
    index: Any = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, last = ROUNDS, cells * VECTORS_PER_CELL
    blocks = [block for start, block, _ in gallery.blocks() if start < last]
    index.train(np.concatenate(blocks)[:last])
    for _, block, _ in gallery.blocks():
        index.add(block)
    return index, code


def _approximate(
    gallery: Gallery,
    groups: Positions,
    index: Any,
    kept: int,
    own: int,
    queries: Floats,
    originals: Positions,
    count: int,
) -> Ranked:
    """Behaves as `search`, from the nearest vectors that the index finds; searches exactly for a view beyond them."""
    raw = np.asarray(queries, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        directions = raw / np.linalg.norm(raw, axis=-1, keepdims=True)
    has_direction = np.isfinite(directions).all(axis=-1)
    cosine = gallery.cosines(directions, originals)
    wanted = max(count, kept) + own
    _, images = index.search(np.nan_to_num(directions).astype(np.float32), wanted)
    is_none = gallery.lengths[images] == 0
    same = groups[images] == groups[originals][:, None]
    places = np.where(same | ~has_direction[:, None] | is_none, -1, images).astype(np.int64)
    cosines, places = exactly_ordered(directions, places, gallery)
    with np.errstate(invalid="ignore"):
        better = ((cosines >= cosine[:, None] - TIE) & (places >= 0)).sum(axis=1)
    rank = np.where(np.isfinite(cosine), 1 + better, 0)
    # All found vectors are nearer, so the remaining ones are counted.
    deep = np.flatnonzero((rank > 0) & (better >= (places >= 0).sum(axis=1)))
    if len(deep):
        rank[deep] = search(queries[deep], originals[deep], gallery, count=0).rank
    return Ranked(rank, cosine, cosines[:, :count], places[:, :count])


@dataclass(frozen=True)
class NearPairs:
    """Finds pairs of a large set of images that are near, each from both of its images."""

    gallery: Gallery
    index: Any
    # The largest error of its cosines, but for few.
    error: float

    def pairs(self, least: Callable[[], float]) -> Iterator[tuple[Positions, Positions, Floats]]:
        """Yields pairs and their cosines, off by up to `error`, that may reach `least`, which may rise on the way."""
        for start in range(0, len(self.gallery), BATCH):
            yield self._around(np.arange(start, min(start + BATCH, len(self.gallery))), least() - self.error)
            release_memory(self.gallery.vectors, start)

    def _around(self, positions: Positions, least: float) -> tuple[Positions, Positions, Floats]:
        gallery = self.gallery
        ends, cosines, found = self.index.range_search(np.ascontiguousarray(gallery.vectors[positions]), least)
        first, second = np.repeat(positions, np.diff(ends.astype(np.int64))), found
        kept = (first != second) & (gallery.lengths[found] > 0)
        first, second = first[kept], second[kept]
        return np.minimum(first, second), np.maximum(first, second), cosines[kept]

    def recall(self, least: float) -> tuple[float, float]:
        """Returns the fraction of pairs that it finds, of those that an exact search for some images finds.

        And from which cosine on these are: `least`, or a lower one that has enough of them.
        """
        gallery, count = self.gallery, min(RECALL_IMAGES, len(self.gallery))
        drawn = np.sort(np.random.default_rng(0).choice(len(gallery), count, replace=False))
        exact = search(gallery.vectors[drawn], drawn, gallery, count=NEIGHBOURS)
        others = np.nan_to_num(exact.others, nan=-1.0)  # of an image without a direction
        least = min(least, float(np.sort(others, axis=None)[-RECALL_PAIRS]))
        rows, columns = np.nonzero(others >= least)
        first, second = drawn[rows], exact.positions[rows, columns]
        ends = np.unique(np.concatenate([first, second]))
        found = [self._around(ends[start : start + BATCH], least - self.error) for start in range(0, len(ends), BATCH)]
        known = np.concatenate([one * len(gallery) + other for one, other, _ in found])
        wanted = np.minimum(first, second) * len(gallery) + np.maximum(first, second)
        return float(np.isin(wanted, known).mean()), least


def near_pairs(vectors: Floats, least: float, memory: float | None = None) -> NearPairs | None:
    """Returns what finds the pairs of unit vectors `[n, D]` that reach a cosine; it says its recall.

    None for few images, of which all pairs can be compared, and where FAISS is not installed.
    """
    if len(vectors) < LEAST_PAIRED or not has_faiss():
        return None
    gallery = Gallery.of(vectors)
    index, code = _index(gallery, memory or MEMORY)
    index.nprobe = max(1, min(index.nlist, round(COMPARED * index.nlist / index.ntotal)))
    coded = np.asarray(gallery.vectors[: min(CODED, len(gallery))])
    off = coded - index.sa_decode(index.sa_encode(coded))
    error = np.abs((off * coded).sum(axis=1)).max() + 4 * np.sqrt(np.square(off).mean())
    near = NearPairs(gallery, index, float(error))
    recall, cosine = near.recall(least)
    message = (
        "near-copies among %s images by FAISS (%s): it finds %.4f of the pairs from a cosine of %.3f on (%d images)"
    )
    log.info(message, f"{len(gallery):,}", code, recall, cosine, min(RECALL_IMAGES, len(gallery)))
    return near
