"""Rows and sums of a study as they would be if its embeddings came through a map."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.statistics import vectors
from embedshift.statistics.layout import blocks, layout
from embedshift.statistics.whitening import Whitening

DISTANCES = {"cosine_similarity": vectors.cosine, "l2_distance": vectors.distance}


@dataclass(frozen=True, eq=False)
class WhitenedRows:
    """Rows of which the embeddings, and the distances of views from their originals, come through a map."""

    raw: pl.LazyFrame
    whitening: Whitening

    @functools.cached_property
    def distances(self) -> dict[str, Values]:
        """The distances of all rows; NaN on originals."""
        order, parts = layout(self.raw), list[dict[str, Values]]()
        original = order.views.index(ORIGINAL)
        for block in blocks(self.raw.select("embedding"), len(order.views)):
            mapped = self.whitening(block["embedding"].to_numpy()).reshape(
                -1, len(order.views), len(self.whitening.mean)
            )
            part = {name: distance(mapped, mapped[:, [original]]) for name, distance in DISTANCES.items()}
            for values in part.values():
                values[:, original] = np.nan
            parts.append(part)
        return {name: np.concatenate([part[name] for part in parts]).ravel() for name in DISTANCES}

    def rows(self) -> pl.LazyFrame:
        kind = pl.Array(pl.Float32, len(self.whitening.mean))

        def mapped(column: pl.Series) -> pl.Series:
            return pl.Series(column.name, self.whitening(column.to_numpy()), dtype=kind)

        def measured(name: str, places: pl.Series) -> pl.Series:
            return pl.Series(name, self.distances[name][places.to_numpy()]).fill_nan(None)

        columns = [pl.col("embedding").map_batches(mapped, return_dtype=kind, is_elementwise=True)]
        columns += [
            pl.col("place")
            .map_batches(functools.partial(measured, name), return_dtype=pl.Float64, is_elementwise=True)
            .alias(name)
            for name in DISTANCES
        ]
        return self.raw.with_row_index("place").with_columns(columns).drop("place")


def whitened_sums(
    name: str, sums: Mapping[str, Values], originals: pl.LazyFrame, whitening: Whitening
) -> dict[str, Values]:
    """Returns a shard's sums for the baselines of the distances; others are as they were."""
    if name == "vectors":
        return {"vectors": whitening(sums["vectors"]).astype(np.float64)}
    if name == "normalised" and len(sums["images"]):
        mapped = whitening(originals.select("embedding").collect()["embedding"].to_numpy()).astype(np.float64)
        starts = np.cumsum(sums["images"]).astype(np.intp) - sums["images"].astype(np.intp)
        return {**sums, "normalised": np.add.reduceat(mapped, starts, axis=0)}
    return dict(sums)
