"""Search by captions: the rank of each caption's own image, before and after a change."""

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Floats, GroupNumbers, Values
from embedshift.statistics.intervals import bounded_interval, proportion_interval
from embedshift.statistics.layout import ImageRows, Layout, Rows, image_rows, sums_and_counts
from embedshift.statistics.retrieval import Gallery, count_closer
from embedshift.statistics.sample import estimates_from_values, gather
from embedshift.statistics.vectors import cosine, normalised

# Captions that search: the first in the study's order, which its seed drew.
QUERIES = 2_000
RECALLS, MRR = (1, 5, 10), "mrr"
SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    "metric": pl.String,
    "n": pl.Int64,
    **dict.fromkeys(("before", "before_low", "before_high", "value", "ci_low", "ci_high"), pl.Float64),
    **dict.fromkeys(("difference", "low", "high"), pl.Float64),
}


def caption_ranks(
    captions: ArrayLike,
    positions: ArrayLike,
    cosines: ArrayLike,
    gallery: Iterable[Floats],
    groups: GroupNumbers | None = None,
) -> Values:
    """Returns the rank of each caption's own image in V galleries: 1 + images of other groups that are as close."""
    texts, image_positions = np.nan_to_num(normalised(captions)), np.asarray(positions)
    own_cosines = np.asarray(cosines, np.float64)
    limits, closer, start = np.nan_to_num(own_cosines), np.zeros(own_cosines.shape), 0
    own = None if groups is None else groups[image_positions]
    for block in gallery:
        for view in range(own_cosines.shape[1]):
            images = Gallery.of(block[:, view], None if groups is None else groups[start : start + len(block)])
            closer[:, view] += count_closer(texts, limits[:, view], images, image_positions - start, own)
        start += len(block)
    return np.where(np.isnan(own_cosines), np.nan, 1.0 + closer)


def text_search(rows: Rows, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    """Returns how well captions find their own images, among the originals and among each augmentation's views."""
    study = image_rows(rows)
    order = study.order
    queries = _queries(study)
    if not queries:
        return pl.DataFrame(schema=SCHEMA)
    texts, positions, cosines = (np.concatenate(parts) for parts in zip(*queries, strict=True))
    with_views = study.blocks("embedding")
    ranks = caption_ranks(texts, positions, cosines, (_embeddings(block, order) for block in with_views), study.groups)
    ks = [k for k in RECALLS if k < order.images]
    metrics = [*(f"recall@{k}" for k in ks), MRR]
    views = np.array([order.positions(name) for name in augmentations]).T  # [draws, A]
    groups = None if study.groups is None else study.groups[positions]
    numbers = _numbers(_scores(ranks[:, :1, None], ks), _scores(ranks[:, views], ks), seed=seed, groups=groups)
    keys = [(name, metric) for name in augmentations for metric in metrics]
    table_rows = [(*key, *row) for key, row in zip(keys, zip(*numbers, strict=True), strict=True)]
    return pl.DataFrame(table_rows, schema=SCHEMA, orient="row", strict=False).fill_nan(None)


def _queries(study: ImageRows) -> list[tuple[Values, NDArray[np.intp], Values]]:
    """Returns, by block, vectors of captions, positions of their images, and cosines with their views `[q, V]`."""
    queries: list[tuple[Values, NDArray[np.intp], Values]] = []
    count, start, order = 0, 0, study.order
    if not order.images:
        return queries
    for block in study.blocks("caption_vector", "embedding"):
        captions = block["caption_vector"].gather_every(len(order.views))
        captioned = np.flatnonzero(captions.is_not_null().to_numpy())[: QUERIES - count]
        if len(captioned):
            texts = captions.gather(captioned).explode().to_numpy().astype(np.float64).reshape(len(captioned), -1)
            queries.append((texts, start + captioned, cosine(texts[:, None], _embeddings(block, order)[captioned])))
        count, start = count + len(captioned), start + len(captions)
        if count == QUERIES:
            break
    return queries


def _embeddings(block: pl.DataFrame, order: Layout) -> Floats:
    vectors = block["embedding"].to_numpy()
    return vectors.reshape(-1, len(order.views), vectors.shape[-1])


def _scores(ranks: Values, recalls: Sequence[int]) -> Values:
    """Converts ranks to scores of every metric: `[...]` → `[..., M]`, in [0, 1]."""
    recalled = [np.where(np.isnan(ranks), np.nan, ranks <= k) for k in recalls]
    return np.stack([*recalled, 1 / ranks], axis=-1)


def _numbers(before: Values, after: Values, *, seed: int, groups: GroupNumbers | None) -> list[Values]:
    """Returns the number columns of the table, `[A * M]` each, from scores `[Q, 1, 1, M]` and `[Q, draws, A, M]`."""
    count, draws, augmentations, metrics = after.shape
    both = ~(np.isnan(before) | np.isnan(after))
    sums, counts = sums_and_counts(np.where(both, after, np.nan).reshape(count, draws, -1))
    paired = np.where(both.any(axis=1), before[:, 0], np.nan).reshape(count, -1)
    sample = gather([(sums, counts)], groups=groups)
    is_fraction = np.tile(np.arange(metrics) < metrics - 1, augmentations)
    with np.errstate(invalid="ignore"):
        means = sums / counts
    columns = [sample.counts]
    for part, values in ((estimates_from_values(paired, groups), paired), (sample, means)):
        ends = zip(proportion_interval(part), bounded_interval(values, 0.0, 1.0, seed=seed, groups=groups), strict=True)
        columns += [part.mean, *(np.where(is_fraction, fraction, mean) for fraction, mean in ends)]
    return [
        *columns,
        estimates_from_values(means - paired).mean,
        *bounded_interval(means - paired, -1.0, 1.0, seed=seed, groups=groups),
    ]
