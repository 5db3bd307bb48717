"""Embeddings of a study's first images and their views, in memory."""

import numpy as np
import polars as pl
import pyarrow as pa

from embedshift.arrays import Floats
from embedshift.augmentations import ORIGINAL
from embedshift.sources.vectors import VectorGrid, VectorSet, keys_of
from embedshift.statistics.agreement import COMPARED
from embedshift.statistics.baselines import KEPT
from embedshift.store.reader import Reader

# Maximum images whose views are read, minimum images, and maximum views.
MOST_IMAGES, FEW_IMAGES, MOST_VIEWS = KEPT, 256, 20_000
# Maximum images for fitting maps, and numbers of their vectors.
TRIED, NUMBERS = 2_000, 2**28


def images_read(reader: Reader) -> int:
    """Returns the number of images whose views are read, limited by memory."""
    order = reader.image_rows.layout
    return min(order.images, MOST_IMAGES, max(FEW_IMAGES, MOST_VIEWS // max(1, len(order.views) - 1)))


def images_tried(reader: Reader) -> int:
    """Returns the number of images for fitting maps, whose vectors take at most 1 GiB."""
    order = reader.image_rows.layout
    return min(order.images, TRIED, max(1, NUMBERS // (len(order.views) * reader.info.encoder.dim)))


def vectors_of(reader: Reader) -> tuple[Floats, Floats]:
    """Returns embeddings of originals `[m, D]`, and of all views of the first n of them, `[n, A, draws, D]`."""
    order, count = reader.image_rows.layout, images_read(reader)
    positions = [position for name in reader.augmentations for position in order.positions(name)]
    views = np.concatenate([block[:, positions] for block in reader.image_rows.head(count).vectors()])
    originals = reader.rows().filter(view=ORIGINAL).select("embedding").head(COMPARED).collect()["embedding"].to_numpy()
    return originals, views.reshape(count, len(reader.augmentations), -1, views.shape[-1])


def vectors_of_study(reader: Reader) -> VectorSet:
    """Returns all vectors of a study, of originals and of views, in the order of its rows."""
    rows, views = reader.image_rows, len(reader.image_rows.layout.views)
    keys = rows.frame.select("image_id", "view", "draw").collect()
    if rows.groups is not None:
        keys = keys.with_columns(group=pl.Series(np.repeat(rows.groups, views)))
    name, blocks = str(reader.folder), rows.blocks
    return VectorSet(
        name, keys_of(pa.table(keys)), lambda: (each["embedding"].to_numpy() for each in blocks("embedding"))
    )


def grid_of(reader: Reader) -> VectorGrid:
    """Returns which row of a study is of which image and view; refuses a study that stores no embeddings."""
    reader.refuse_without_vectors()
    return vectors_of_study(reader).grid().with_views(reader.augmentations)
