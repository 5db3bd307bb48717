"""Structures of an approximate search, `hnsw` and `ivf`, by FAISS over what a code stands for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Floats, Values
from embedshift.statistics.index import SearchIndex
from embedshift.statistics.index_parts import faiss_library

Positions = NDArray[np.int64]
# Links of a vector, candidates that a search of `hnsw` keeps; `ivf` searches an eighth of its cells.
LINKS, EF_SEARCH, PART_SEARCHED = 32, 64, 8
# Vectors that train a cell of `ivf`, as FAISS asks for.
PER_CELL = 39


class Structure:
    """A structure over the gallery of a search.

    Args:
        index: The index whose structure it is.
        trained_on: Unit vectors outside the gallery that cells are made of, float32 `[m, D]`.
    """

    def __init__(self, index: SearchIndex, trained_on: Floats) -> None:
        faiss = faiss_library(f"the index part {index.structure}")
        made = np.ascontiguousarray(index.stands_for(index.moved(trained_on)))
        dim, kind = made.shape[1], faiss.METRIC_INNER_PRODUCT
        self.places: Positions = np.zeros(0, np.int64)
        if index.structure == "hnsw":
            self.built: Any = faiss.IndexHNSWFlat(dim, LINKS, kind)
            self.built.hnsw.efSearch = EF_SEARCH
            return
        cells = max(1, min(int(4 * len(made) ** 0.5), len(made) // PER_CELL))
        self.cells = faiss.IndexFlatIP(dim)  # the structure holds no reference to it
        self.built = faiss.IndexIVFFlat(self.cells, dim, cells, kind)
        self.built.nprobe = max(1, cells // PART_SEARCHED)
        self.built.train(made)

    def add(self, vectors: Floats, start: int, is_none: NDArray[np.bool_]) -> None:
        """Adds a block of the gallery, `[b, d]`, from the place `start`, without those that are missing."""
        self.built.add(np.ascontiguousarray(vectors[~is_none]))
        self.places = np.append(self.places, start + np.flatnonzero(~is_none))

    def search(self, asked: Floats, mates: NDArray[np.bool_], count: int) -> tuple[Floats, Positions, Values]:
        """Returns the scores and places of candidates, `[q, c]`, and the score of each query's own image, `[q]`.

        Args:
            asked: Query i is a view of the i-th image of the gallery, float32 `[q, d]`.
            mates: Images of its group, and itself, bool `[q, q]`; they are no candidates: score −inf, place −1.
            count: Candidates that are left at least, if the structure returns as many.
        """
        wanted = max(1, min(count + int(mates.sum(axis=1).max()), len(self.places)))
        scores, found = self.built.search(np.ascontiguousarray(asked), wanted)
        places = np.append(self.places, -1)[found]  # FAISS returns −1 for none
        rows = np.arange(len(asked))[:, None]
        is_own, is_inside = places == rows, (places >= 0) & (places < len(asked))
        own = np.where(is_own, scores, -np.inf).max(axis=1).astype(np.float64)
        is_other = (places >= 0) & ~(is_inside & mates[rows, np.where(is_inside, places, 0)])
        return np.where(is_other, scores, -np.inf), np.where(is_other, places, -1), own
