"""Layouts: which vectors stand for an image in a gallery, and which one for a query.

`one` keeps the vector of the image. `tiles` also those of its tiles, and the nearest counts; `tiles-mean` keeps their
mean. `mirror-mean` averages an image and its mirror image, in gallery and query; `mirror-query` in the query alone.
"""

import numpy as np

from embedshift.arrays import Floats
from embedshift.statistics.vectors import normalised

ONE, TILES, TILES_MEAN, MIRROR_MEAN, MIRROR_QUERY = "one", "tiles", "tiles-mean", "mirror-mean", "mirror-query"
LAYOUTS = (ONE, TILES, TILES_MEAN, MIRROR_MEAN, MIRROR_QUERY)
# Columns of a study's rows: the vectors of an original's tiles, one after the other, and that of a mirror image.
TILE_VECTORS, MIRRORED = "tiles", "mirrored"


# Which of these a gallery needs, and which a query; the others need the embeddings alone.
OF_GALLERY = {TILES: TILE_VECTORS, TILES_MEAN: TILE_VECTORS, MIRROR_MEAN: MIRRORED}
OF_QUERIES = {MIRROR_MEAN: MIRRORED, MIRROR_QUERY: MIRRORED}


def in_gallery(layout: str, whole: Floats, more: Floats | None) -> Floats:
    """Returns the vectors that a gallery keeps of n images, `[n, D]`; with `tiles` all of an image, `[n, 1 + k, D]`.

    Args:
        layout: One of `LAYOUTS`.
        whole: The vectors of whole images, float32 `[n, D]`.
        more: Those of their tiles or of their mirror image, `[n, k, D]`; NaN where an image has fewer tiles.

    Example:
        >>> whole, tiles = np.eye(2, dtype=np.float32), np.ones((2, 3, 2), np.float32)
        >>> in_gallery("tiles", whole, tiles).shape, in_gallery("tiles-mean", whole, tiles).round(2)[0].tolist()
        ((2, 4, 2), [0.8299999833106995, 0.5600000023841858])
    """
    if more is None or layout not in OF_GALLERY:
        return whole
    every = np.concatenate([whole[:, None], more], axis=1)
    return np.nan_to_num(every) if layout == TILES else mean_direction(every)


def as_query(layout: str, views: Floats, mirrored: Floats | None) -> Floats:
    """Returns the queries of views float32 `[..., D]` and of their mirror images, of the same shape."""
    if mirrored is None or layout not in OF_QUERIES:
        return views
    return mean_direction(np.stack([views, mirrored], axis=-2))


def mean_direction(vectors: Floats) -> Floats:
    """Returns the mean of unit vectors `[..., m, D]` at length 1, `[..., D]`; missing ones (NaN) do not count.

    The first must be there: without it the mean is NaN.
    """
    directions = normalised(vectors)
    there = np.asarray(np.isfinite(directions).all(axis=-1, keepdims=True))
    total = np.where(there, directions, 0.0).sum(axis=-2) / np.maximum(1, there.sum(axis=-2))
    return np.where(there[..., 0, :], normalised(total), np.nan).astype(np.float32)
