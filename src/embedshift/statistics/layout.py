"""The rows of a study, image by image, and readers of their numbers in blocks of images."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from embedshift.arrays import Floats, GroupNumbers, Values
from embedshift.augmentations import ORIGINAL

# Images per block.
BLOCK = 512


def scan(paths: Sequence[Path]) -> pl.LazyFrame:
    # Addresses, since polars asks for the state of every path before it opens it; it refuses those with `..`.
    folders = {folder: folder.resolve() for folder in {path.parent for path in paths}}
    return pl.scan_parquet([(folders[path.parent] / path.name).as_uri() for path in paths], glob=False)


@dataclass(frozen=True)
class Layout:
    """The order of a study's rows: image by image, each with the same views in the same order."""

    images: int
    views: tuple[str, ...]

    def positions(self, view: str) -> list[int]:
        return [position for position, name in enumerate(self.views) if name == view]

    def vectors(self, block: pl.DataFrame) -> Floats:
        """Returns the embeddings of a block by image and view, `[b, views, D]`; NaN where one is missing."""
        vectors = block["embedding"].to_numpy()
        return vectors.reshape(-1, len(self.views), vectors.shape[-1])

    def values(self, block: pl.DataFrame, view: str, columns: Sequence[str]) -> Values:
        """Returns the values of one view `[b, draws, K]`; null and missing columns become NaN."""
        return self.numbers(block, columns)[:, self.positions(view)]

    def numbers(self, block: pl.DataFrame, columns: Sequence[str]) -> Values:
        """Returns the values of all views `[b, views, K]`; null and missing columns become NaN."""
        missing = pl.lit(None, pl.Float64)
        expressions = {name: pl.col(name).cast(pl.Float64) if name in block.columns else missing for name in columns}
        values = block.select(
            expression.fill_null(np.nan).alias(name) for name, expression in expressions.items()
        ).to_numpy()
        return values.reshape(-1, len(self.views), len(columns))


def layout(rows: pl.LazyFrame) -> Layout:
    counted = rows.select(pl.len().alias("rows"), (pl.col("view") == ORIGINAL).sum().alias("images")).collect()
    images = int(counted["images"][0])
    if not images:
        return Layout(0, ())
    rows_per_image = int(counted["rows"][0]) // images
    return Layout(images, tuple(rows.select("view").head(rows_per_image).collect()["view"]))


@dataclass(frozen=True, eq=False)
class ImageRows:
    """The rows of a study, and the group of each image; None = images are independent."""

    frame: pl.LazyFrame
    layout: Layout
    groups: GroupNumbers | None = None

    @functools.cached_property
    def columns(self) -> pl.Schema:
        return self.frame.collect_schema()

    def head(self, images: int) -> "ImageRows":
        first = self.frame.head(images * len(self.layout.views))
        return ImageRows(first, Layout(min(images, self.layout.images), self.layout.views), self.groups)

    def blocks(self, *columns: str) -> Iterator[pl.DataFrame]:
        """Yields some of the columns, `BLOCK` images at a time."""
        return blocks(self.frame.select(columns), len(self.layout.views))

    def vectors(self) -> Iterator[Floats]:
        """Yields the embeddings of `BLOCK` images at a time, `[b, views, D]`."""
        return map(self.layout.vectors, self.blocks("embedding"))


def image_rows(rows: pl.LazyFrame) -> ImageRows:
    return ImageRows(rows, layout(rows))


def blocks(rows: pl.LazyFrame, rows_per_image: int) -> Iterator[pl.DataFrame]:
    size = BLOCK * rows_per_image
    waiting: list[pl.DataFrame] = []
    count = 0
    for batch in rows.collect_batches(chunk_size=size, maintain_order=True):
        waiting.append(batch)
        count += len(batch)
        if count >= size:
            merged = pl.concat(waiting)
            end = count - count % size
            yield from (merged[start : start + size] for start in range(0, end, size))
            waiting, count = [merged[end:]], count - end
    if count:
        yield pl.concat(waiting)


def sums_and_counts(values: Values) -> tuple[Values, Values]:
    """Sums values over the draws and counts them, without NaN: `[b, draws, K]` → sums `[b, K]` and counts `[b, K]`."""
    present = ~np.isnan(values)
    return np.where(present, values, 0.0).sum(axis=1), present.sum(axis=1).astype(np.float64)


def image_means(values: Values) -> Values:
    """Returns the mean of each image over its draws, `[n, A]` from `[n, draws, A]`; NaN if it has no value."""
    sums, counts = sums_and_counts(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / counts)


def side_by_side(parts: Iterable[tuple[Values, Values]]) -> tuple[Values, Values]:
    sums, counts = zip(*parts, strict=True)
    return np.hstack(sums), np.hstack(counts)


def metric_parts(
    study: ImageRows,
    augmentations: Sequence[str],
    metrics: Sequence[str],
    distances: Mapping[str, tuple[float, float]] | None = None,
) -> Iterator[tuple[Values, Values]]:
    """Yields sums over the draws and counts of metrics, some images at a time: `[b, A * M]` each.

    Those of the logarithms of `distances` follow, `[b, A * D]`: metric → no change, and the distance up to which a view
    did not move, so that it has no logarithm.
    """
    chosen = [metrics.index(name) for name in distances or {}]
    no_change, still = np.array([*(distances or {}).values()]).reshape(-1, 2).T
    for block in study.blocks(*metrics):
        values = study.layout.numbers(block, metrics)
        by_augmentation = [values[:, study.layout.positions(name)] for name in augmentations]
        parts = [sums_and_counts(views) for views in by_augmentation]
        for views in by_augmentation if chosen else ():
            away = np.abs(views[..., chosen] - no_change)
            parts.append(sums_and_counts(np.log(np.where(away > still, away, np.nan))))
        yield side_by_side(parts)


def list_parts(study: ImageRows, augmentations: Sequence[str], names: Sequence[str]) -> Iterator[tuple[Values, Values]]:
    moved, views = study.frame.filter(pl.col("view") != ORIGINAL).select(names), len(study.layout.views) - 1
    positions = [[position - 1 for position in study.layout.positions(name)] for name in augmentations]
    for block in blocks(moved, views):
        values = np.hstack([block[name].to_numpy() for name in names]).astype(np.float64)
        values = values.reshape(-1, views, values.shape[1])
        yield side_by_side(sums_and_counts(values[:, position]) for position in positions)


def pair_distances(rows: pl.LazyFrame, pairs: int) -> Iterator[Values]:
    for block in blocks(rows.filter(pl.col("view") == ORIGINAL).select("pairwise"), 1):
        yield block["pairwise"].explode().to_numpy().astype(np.float64).reshape(len(block), -1, pairs)
