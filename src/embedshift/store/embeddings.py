"""Embeddings of a study's first images and their views, in memory."""

import numpy as np

from embedshift.arrays import Floats
from embedshift.augmentations import ORIGINAL
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
    parts = [block["embedding"].to_numpy() for block in reader.image_rows.head(count).blocks("embedding")]
    views = np.concatenate(parts).reshape(count, len(order.views), -1)[:, positions]
    originals = reader.rows().filter(view=ORIGINAL).select("embedding").head(COMPARED).collect()["embedding"].to_numpy()
    return originals, views.reshape(count, len(reader.augmentations), -1, views.shape[-1])
