"""Relative shifts of the cosine once the originals' mean direction is subtracted from all embeddings."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.statistics.baselines import CHUNKS, KEPT, RelativeShifts, merged, relative_shifts, unit_pairs
from embedshift.statistics.chunks import Chunks
from embedshift.statistics.layout import BLOCK, blocks, side_by_side, sums_and_counts
from embedshift.statistics.sample import IN_MEMORY, gather
from embedshift.statistics.vectors import unit

# A unit vector that is nearer to the mean lies at it, but for the rounding of float32.
_ROUNDING = 1e-6


def centred_shifts(study: Chunks, augmentations: list[str], seed: int) -> RelativeShifts:
    """Returns them from the first `IN_MEMORY` images: their order is drawn by the seed."""
    rows = study.head(IN_MEMORY)
    embeddings = rows.filter(pl.col("view") == ORIGINAL).select("embedding").collect()["embedding"].to_numpy()
    units = unit(embeddings)
    mean = units[np.isfinite(units).all(axis=-1)].mean(axis=0)
    originals = centred(embeddings, mean)
    valid = np.isfinite(originals).all(axis=-1).astype(np.float64)
    sums = {"units": np.nan_to_num(originals), "valid": valid, "images": np.ones(len(valid))}
    sums = merged(sums, KEPT if len(valid) <= KEPT else CHUNKS)

    def cosines() -> Iterator[tuple[Values, Values]]:
        for index, block in enumerate(blocks(rows.select("embedding"), len(study.order.views))):
            views = block["embedding"].to_numpy().reshape(-1, len(study.order.views), originals.shape[1])
            own = originals[index * BLOCK :][: len(views)]
            values = np.stack([(centred(views[:, view], mean) * own).sum(axis=-1) for view in range(views.shape[1])], 1)
            values = np.clip(values, -1.0, 1.0)[..., None]
            yield side_by_side(sums_and_counts(values[:, study.order.positions(name)]) for name in augmentations)

    sample = gather(cosines(), together=False, chunks=sums["images"].astype(int).tolist())
    return relative_shifts(sample, unit_pairs(**sums).baseline(), 1.0, seed=seed, limits=(-1.0, 1.0))


def centred(vectors: Values, mean: Values) -> Values:
    """Returns the directions from the mean to unit vectors, `[..., D]`; NaN for one that lies at the mean."""
    off = unit(vectors) - mean
    return unit(np.where(np.linalg.norm(off, axis=-1, keepdims=True) > _ROUNDING, off, np.nan))
