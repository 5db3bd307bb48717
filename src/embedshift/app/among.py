"""Whether a search among a study's originals still finds an image of your own, once it is changed."""

import threading
from dataclasses import dataclass

import numpy as np
import polars as pl

from embedshift.arrays import Floats
from embedshift.augmentations import ORIGINAL
from embedshift.statistics.retrieval import Gallery, search
from embedshift.store.reader import Reader

# Bytes of vectors that are kept in memory; a larger study is not searched from the page.
MOST_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Place:
    """What a search for a view found."""

    rank: int
    of: int
    nearest: str
    cosine: float
    known: str = ""


class Among:
    """The originals of a study, with room for one image more."""

    def __init__(self, ids: list[str], vectors: Floats, pixels: list[str]) -> None:
        self.ids = ids
        self._places = {found: place for place, found in reversed(list(enumerate(pixels)))}
        room = np.zeros((len(ids) + 1, vectors.shape[1]), np.float32)
        room[:-1] = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0.0)
        self._all = Gallery.of(room)
        self._own = Gallery(room[:-1], self._all.lengths[:-1])
        self._lock = threading.Lock()  # the room for one more is one for all tabs

    @classmethod
    def of(cls, reader: Reader) -> "Among | str":
        """The originals of a study; or why they cannot be searched, in words."""
        if not reader.info.has_vectors:
            return "the study has no stored embeddings: run it with `store` all"
        if 4 * reader.info.counts.measured * reader.info.encoder.dim > MOST_BYTES:
            return "the study's embeddings take more than 2 GiB: use `embedshift search`"
        rows = reader.rows().filter((pl.col("view") == ORIGINAL) & (pl.col("draw") == 0))
        found = rows.select("image_id", "pixels", "embedding").collect()
        if found.is_empty():
            return "the study has no image"
        return cls(found["image_id"].to_list(), found["embedding"].to_numpy(), found["pixels"].to_list())

    def find(self, original: Floats, view: Floats, pixels: str = "") -> Place:
        """Where the original stands in a search for its view, among the study's originals and itself."""
        known = self._places.get(pixels) if pixels else None
        with self._lock:
            gallery = self._own
            if known is None:
                gallery = self._all
                gallery.vectors[-1] = original
                gallery.lengths[-1] = np.linalg.norm(np.asarray(original, np.float64))
            right = len(gallery) - 1 if known is None else known
            found = search(np.asarray(view)[None], [right], gallery, count=1)
        other = int(found.places[0, 0]) if found.places.size else -1
        return Place(
            rank=int(found.rank[0]),
            of=len(gallery),
            nearest=self.ids[other] if other >= 0 else "",
            cosine=float(found.others[0, 0]) if found.others.size else float("nan"),
            known="" if known is None else self.ids[known],
        )
