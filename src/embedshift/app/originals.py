"""Searches among a study's originals and one image more, for a view of that image."""

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
class SearchResult:
    rank: int
    images: int
    nearest: str
    cosine: float
    same_image: str = ""


class Originals:
    """The originals of a study, with room for one image more."""

    def __init__(self, ids: list[str], vectors: Floats, pixels: list[str]) -> None:
        self.ids = ids
        self._index_of_pixels = {pixel: index for index, pixel in reversed(list(enumerate(pixels)))}
        with_upload = np.zeros((len(ids) + 1, vectors.shape[1]), np.float32)
        with_upload[:-1] = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0.0)
        self._with_upload = Gallery.of(with_upload)
        self._study = Gallery(with_upload[:-1], self._with_upload.lengths[:-1])
        self._lock = threading.Lock()  # all tabs use the same last row

    @classmethod
    def from_study(cls, reader: Reader) -> "Originals | str":
        """The originals of a study; or why they cannot be searched, in words."""
        if not reader.info.has_vectors:
            return "the study has no stored embeddings: run it with `store` all"
        if 4 * reader.info.counts.measured * reader.info.encoder.dim > MOST_BYTES:
            return "the study's embeddings take more than 2 GiB: use `embedshift search`"
        rows = reader.rows().filter((pl.col("view") == ORIGINAL) & (pl.col("draw") == 0))
        originals = rows.select("image_id", "pixels", "embedding").collect()
        if originals.is_empty():
            return "the study has no image"
        return cls(originals["image_id"].to_list(), originals["embedding"].to_numpy(), originals["pixels"].to_list())

    def search(self, original: Floats, view: Floats, pixels: str = "") -> SearchResult:
        """Where the original stands in a search for its view, among the study's originals and itself."""
        same_index = self._index_of_pixels.get(pixels) if pixels else None
        with self._lock:
            gallery = self._study
            if same_index is None:
                gallery = self._with_upload
                gallery.vectors[-1] = original
                gallery.lengths[-1] = np.linalg.norm(np.asarray(original, np.float64))
            own_index = len(gallery) - 1 if same_index is None else same_index
            ranked = search(np.asarray(view)[None], [own_index], gallery, count=1)
        nearest = int(ranked.positions[0, 0]) if ranked.positions.size else -1
        return SearchResult(
            rank=int(ranked.rank[0]),
            images=len(gallery),
            nearest=self.ids[nearest] if nearest >= 0 else "",
            cosine=float(ranked.others[0, 0]) if ranked.others.size else float("nan"),
            same_image="" if same_index is None else self.ids[same_index],
        )
