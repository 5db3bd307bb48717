"""Reads from a study's rows the values on which claims are tested, some images at a time."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.augmentations.paper import PAPER
from embedshift.questions.claims.evidence import Block, Key, distance
from embedshift.statistics.layout import ImageRows, Layout, blocks, pair_distances
from embedshift.statistics.maps import attention_entropy
from embedshift.statistics.summary import PAPER_METRICS

# Detail preservation after moving the original as the view was moved; measured on request.
ALIGNED_DETAIL = "aligned_detail_preservation"
MEAN_METRICS = (*PAPER_METRICS, ALIGNED_DETAIL)
ENTROPY_RISE = "attention_entropy_rise"
# The augmentations under which attention spreads according to the paper; only their attention is read.
ENTROPY_AUGMENTATIONS = ("blur", "shift_scale_rotate", "perspective")


def read(rows: ImageRows, augmentations: Sequence[str]) -> Iterator[Block]:
    """Yields the values that the claims need; augmentations that are not the paper's are left out."""
    order, names = rows.order, [name for name in augmentations if name in PAPER]
    if not names or not order.images:
        return
    pairs, positions = _pairs(augmentations) if "pairwise" in rows.columns else ([], [])
    values = rows.blocks(*(name for name in MEAN_METRICS if name in rows.columns))
    pair_values = pair_distances(rows.frame, math.comb(len(augmentations), 2)) if positions else iter(())
    for block, distances, entropy_rises in itertools.zip_longest(values, pair_values, _entropy_rises(rows, names)):
        block_values: dict[Key, Values] = {}
        numbers = order.numbers(block, MEAN_METRICS)
        for name in names:
            views = numbers[:, order.positions(name)]
            block_values |= {(metric, name): views[:, :, index] for index, metric in enumerate(MEAN_METRICS)}
        block_values |= {pair: distances[:, :, index] for pair, index in zip(pairs, positions, strict=True)}
        yield {**block_values, **(entropy_rises or {})}


def _pairs(augmentations: Sequence[str]) -> tuple[list[Key], list[int]]:
    pairs = list(itertools.combinations(augmentations, 2))
    positions = [index for index, pair in enumerate(pairs) if set(pair) <= set(PAPER)]
    return [distance(*pairs[index]) for index in positions], positions


def _entropy_rises(rows: ImageRows, names: Sequence[str]) -> Iterator[Block]:
    wanted, order = [name for name in ENTROPY_AUGMENTATIONS if name in names], rows.order
    if ENTROPY_RISE in rows.columns and wanted:
        for block in rows.blocks(ENTROPY_RISE):
            values = order.numbers(block, [ENTROPY_RISE])[:, :, 0]
            yield {("entropy_rise", name): values[:, order.positions(name)] for name in wanted}
    elif wanted and isinstance(rows.columns["attention"], pl.Array):
        views = [ORIGINAL, *wanted]
        selected = Layout(order.images, tuple(view for view in order.views if view in views))
        for block in blocks(rows.frame.filter(pl.col("view").is_in(views)).select("attention"), len(selected.views)):
            maps = block["attention"]
            # With `store` metrics few rows have a map, and most blocks none.
            has_maps = maps.null_count() < len(maps)
            entropies = attention_entropy(maps.to_numpy()[:, None]) if has_maps else np.full(len(maps), np.nan)
            by_view = entropies.reshape(-1, len(selected.views))
            rises: Values = np.asarray(by_view - by_view[:, selected.positions(ORIGINAL)])
            yield {("entropy_rise", name): rises[:, selected.positions(name)] for name in wanted}
