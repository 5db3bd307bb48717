"""Near-duplicates among the first originals, which the page reports: they are no independent images."""

import functools

import numpy as np
import polars as pl

from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.statistics.near import components, near_cosine
from embedshift.statistics.summary import COSINE
from embedshift.store.reader import Reader

# Images whose pairs are compared, and the fraction of them from which the page speaks of near-duplicates.
COMPARED, SIZEABLE = 2_000, 0.05


@functools.lru_cache(maxsize=1)
def near_duplicates(reader: Reader) -> Json | None:
    """Returns how many images have a near-duplicate in another group; None if few have."""
    summary = reader.table("summary")
    cosines = None if summary is None else summary.filter(metric=COSINE)
    if cosines is None or cosines["baseline"].is_null().any() or not reader.info.has_vectors:
        return None
    least = near_cosine(cosines["median"], cosines["baseline"][0])
    vectors = reader.rows().filter(pl.col("view") == ORIGINAL).select("embedding").head(COMPARED).collect()
    labels = components(reader.vectors(vectors), least)
    units = np.arange(len(labels)) if reader.units is None else reader.units[: len(labels)]
    joined = np.bincount(np.unique(np.stack([labels, units], axis=1), axis=0)[:, 0]) > 1
    images = int(joined[labels].sum())
    return None if images < SIZEABLE * len(labels) else {"images": images, "of": len(labels), "least": least}
