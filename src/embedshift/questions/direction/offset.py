"""Relative shifts of the cosine once the originals' mean direction is subtracted from all embeddings."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.statistics.baselines import KEPT, Baseline, cosine_baseline, relative_shifts
from embedshift.statistics.chunks import Chunks
from embedshift.statistics.layout import BLOCK, blocks, side_by_side, sums_and_counts
from embedshift.statistics.sample import gather
from embedshift.statistics.vectors import cosine, unit

# A unit vector that is nearer to the mean lies at it, but for the rounding of float32.
_ROUNDING = 1e-6


def centred_shifts(study: Chunks, augmentations: list[str], seed: int) -> tuple[Values, Values, Values]:
    """Returns them with their intervals, from the first `KEPT` images: their order is drawn by the seed."""
    rows = study.head(KEPT)
    embeddings = rows.filter(pl.col("view") == ORIGINAL).select("embedding").collect()["embedding"].to_numpy()
    units = unit(embeddings)
    mean = np.nan_to_num(units).sum(axis=0) / max(1, np.isfinite(units[:, 0]).sum())
    originals = centred(embeddings, mean)

    def cosines() -> Iterator[tuple[Values, Values]]:
        for index, block in enumerate(blocks(rows.select("embedding"), len(study.order.views))):
            views = block["embedding"].to_numpy().reshape(-1, len(study.order.views), originals.shape[1])
            own = originals[index * BLOCK :][: len(views)]
            values = np.stack([cosine(own, centred(views[:, view], mean)) for view in range(views.shape[1])], axis=1)
            yield side_by_side(sums_and_counts(values[:, study.order.positions(name), None]) for name in augmentations)

    sums = {"vectors": {"vectors": originals}}
    baseline = cosine_baseline(lambda name: sums.get(name, {}), len(originals)) or Baseline(np.nan, np.nan)
    sample = gather(cosines(), together=False, chunks=[1] * len(originals))
    shifts = relative_shifts(sample, baseline, 1.0, seed=seed, limits=(-1.0, 1.0))
    return shifts.value, shifts.low, shifts.high


def centred(vectors: Values, mean: Values) -> Values:
    """Returns unit vectors minus their mean, `[..., D]`; NaN for one that lies at it."""
    off = unit(vectors) - mean
    return np.where(np.linalg.norm(off, axis=-1, keepdims=True) > _ROUNDING, off, np.nan)
