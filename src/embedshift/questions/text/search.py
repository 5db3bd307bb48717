"""Search by captions: the rank of each caption's own image, before and after a change."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Floats, Values
from embedshift.statistics.intervals import LEAST_IMAGES, mean_interval, proportion_interval
from embedshift.statistics.layout import Layout, blocks, layout, sums_and_counts
from embedshift.statistics.sample import gather, of_values
from embedshift.statistics.vectors import cosine, unit

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
# Numbers of one chunk of pairs whose cosines are computed again in float64.
_CHUNK = 2**22


def caption_ranks(captions: ArrayLike, places: ArrayLike, own: ArrayLike, gallery: Iterable[Floats]) -> Values:
    """Returns the rank of each caption's own image in V galleries: 1 + other images with a cosine as high or higher."""
    texts, where, known = np.asarray(captions, np.float64), np.asarray(places), np.asarray(own, np.float64)
    short, rivals, start = unit(texts).astype(np.float32), np.zeros(known.shape), 0
    for block in gallery:
        here = np.flatnonzero((where >= start) & (where < start + len(block)))
        for view in range(known.shape[1]):
            ahead = _ahead(texts, short, known[:, view], block[:, view])
            ahead[here, where[here] - start] = False
            rivals[:, view] += ahead.sum(axis=1)
        start += len(block)
    return np.where(np.isnan(known), np.nan, 1.0 + rivals)


def _ahead(texts: Values, short: Floats, own: Values, vectors: Floats) -> NDArray[np.bool_]:
    """Returns whether the cosines of Q texts with b vectors reach those with the own images, `[Q, b]`."""
    with np.errstate(invalid="ignore"):
        off = short @ unit(vectors).astype(np.float32).T - own[:, None]
        ahead = np.asarray(off > 0)
        # A bound of the error of a sum of D products in float32, of vectors that were rounded to it.
        close = np.argwhere(np.abs(off) <= (texts.shape[1] + 4) * np.finfo(np.float32).eps)
    step = max(1, _CHUNK // texts.shape[1])
    for first in range(0, len(close), step):
        text, image = close[first : first + step].T
        ahead[text, image] = cosine(texts[text], vectors[image]) >= own[text]
    return ahead


def text_search(rows: pl.LazyFrame, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    """Returns how well captions find their own images, among the originals and among each augmentation's views."""
    order = layout(rows)
    found = _queries(rows, order)
    if not found:
        return pl.DataFrame(schema=SCHEMA)
    texts, places, own = (np.concatenate(each) for each in zip(*found, strict=True))
    ranks = caption_ranks(texts, places, own, _views(rows, order))
    kept = [k for k in RECALLS if k < order.images]
    metrics = [*(f"recall@{k}" for k in kept), MRR]
    views = np.array([order.positions(name) for name in augmentations]).T  # [draws, A]
    numbers = _numbers(_scores(ranks[:, :1, None], kept), _scores(ranks[:, views], kept), seed=seed)
    keys = [(name, metric) for name in augmentations for metric in metrics]
    made = [(*key, *row) for key, row in zip(keys, zip(*numbers, strict=True), strict=True)]
    return pl.DataFrame(made, schema=SCHEMA, orient="row", strict=False).fill_nan(None)


def _queries(rows: pl.LazyFrame, order: Layout) -> list[tuple[Values, NDArray[np.intp], Values]]:
    """Yields, some at a time, vectors of captions, places of their images, and cosines with their views `[q, V]`."""
    found: list[tuple[Values, NDArray[np.intp], Values]] = []
    count = start = 0
    if not order.images:
        return found
    for block in blocks(rows.select("caption_vector", "embedding"), len(order.views)):
        captions = block["caption_vector"].gather_every(len(order.views))
        here = np.flatnonzero(captions.is_not_null().to_numpy())[: QUERIES - count]
        if len(here):
            texts = captions.gather(here).explode().to_numpy().astype(np.float64).reshape(len(here), -1)
            found.append((texts, start + here, cosine(texts[:, None], _embeddings(block, order)[here])))
        count, start = count + len(here), start + len(captions)
        if count == QUERIES:
            break
    return found


def _views(rows: pl.LazyFrame, order: Layout) -> Iterator[Floats]:
    for block in blocks(rows.select("embedding"), len(order.views)):
        yield _embeddings(block, order)


def _embeddings(block: pl.DataFrame, order: Layout) -> Floats:
    vectors = block["embedding"].to_numpy()
    return vectors.reshape(-1, len(order.views), vectors.shape[-1])


def _scores(ranks: Values, recalls: Sequence[int]) -> Values:
    """Converts ranks to scores of every metric: `[...]` → `[..., M]`, in [0, 1]."""
    found = [np.where(np.isnan(ranks), np.nan, ranks <= k) for k in recalls]
    return np.stack([*found, 1 / ranks], axis=-1)


def _numbers(before: Values, after: Values, *, seed: int) -> list[Values]:
    """Returns the number columns of the table, `[A * M]` each, from scores `[Q, 1, 1, M]` and `[Q, draws, A, M]`."""
    count, draws, augmentations, metrics = after.shape
    both = ~(np.isnan(before) | np.isnan(after))
    sums, counts = sums_and_counts(np.where(both, after, np.nan).reshape(count, draws, -1))
    paired = np.where(both.any(axis=1), before[:, 0], np.nan).reshape(count, -1)
    sample, is_fraction = gather([(sums, counts)]), np.tile(np.arange(metrics) < metrics - 1, augmentations)
    with np.errstate(invalid="ignore"):
        own = sums / counts
    columns = [sample.counts]
    for part, values in ((of_values(paired), paired), (sample, own)):
        ends = zip(proportion_interval(part), of_bounded(values, 0.0, 1.0, seed=seed), strict=True)
        columns += [part.mean, *(np.where(is_fraction, fraction, mean) for fraction, mean in ends)]
    return [*columns, of_values(own - paired).mean, *of_bounded(own - paired, -1.0, 1.0, seed=seed)]


def of_bounded(values: Values, least: float, most: float, *, seed: int) -> tuple[Values, Values]:
    """Returns 95 % intervals of means of bounded values, none of zero width: bootstrap-t if enough images differ."""
    low, high = mean_interval(of_values(values), seed=seed, low=least, high=most)
    nothing = np.isnan(values)
    usual = np.nanmedian(np.where(nothing.all(axis=0), 0.0, values), axis=0)
    below, above = (
        proportion_interval(of_values(np.where(nothing, np.nan, off)))[1] for off in (values < usual, values > usual)
    )
    differ = (~nothing & (values != usual)).sum(axis=0)
    found = (differ >= LEAST_IMAGES) & (high > low)
    return (
        np.where(found, low, usual - below * (usual - least)),
        np.where(found, high, usual + above * (most - usual)),
    )
