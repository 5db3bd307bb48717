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
from embedshift.statistics.layout import Layout, blocks, layout, pair_distances
from embedshift.statistics.maps import attention_entropy

MEANS_OF = ("cosine_similarity", "l2_distance", "attention_similarity", "edge_preservation", "detail_preservation")
ENTROPY_RISE = "attention_entropy_rise"
# The augmentations under which attention spreads according to the paper; only their attention is read.
ENTROPY_OF = ("blur", "shift_scale_rotate", "perspective")


def read(rows: pl.LazyFrame, augmentations: Sequence[str], order: Layout | None = None) -> Iterator[Block]:
    """Yields the values that the claims need; augmentations that are not the paper's are left out."""
    order = order or layout(rows)
    names = [name for name in augmentations if name in PAPER]
    if not names or not order.images:
        return
    there = rows.collect_schema().names()
    pairs, chosen = _pairs(augmentations) if "pairwise" in there else ([], [])
    values = blocks(rows.select(name for name in MEANS_OF if name in there), len(order.views))
    between = pair_distances(rows, math.comb(len(augmentations), 2)) if chosen else iter(())
    for block, distances, risen in itertools.zip_longest(values, between, _entropy_rises(rows, order, names)):
        found: dict[Key, Values] = {}
        every = order.numbers(block, MEANS_OF)
        for name in names:
            each = every[:, order.positions(name)]
            found |= {(metric, name): each[:, :, place] for place, metric in enumerate(MEANS_OF)}
        found |= {pair: distances[:, :, place] for pair, place in zip(pairs, chosen, strict=True)}
        yield {**found, **(risen or {})}


def _pairs(augmentations: Sequence[str]) -> tuple[list[Key], list[int]]:
    """Returns keys of the distances between the paper's augmentations, and their places in a row's distances."""
    pairs = list(itertools.combinations(augmentations, 2))
    chosen = [index for index, pair in enumerate(pairs) if set(pair) <= set(PAPER)]
    return [distance(*pairs[index]) for index in chosen], chosen


def _entropy_rises(rows: pl.LazyFrame, order: Layout, names: Sequence[str]) -> Iterator[Block]:
    """Yields the entropy of each view's attention map minus its original's, in nats, block by block."""
    wanted = [name for name in ENTROPY_OF if name in names]
    columns = rows.collect_schema()
    if ENTROPY_RISE in columns and wanted:
        for block in blocks(rows.select(ENTROPY_RISE), len(order.views)):
            every = order.numbers(block, [ENTROPY_RISE])[:, :, 0]
            yield {("entropy_rise", name): every[:, order.positions(name)] for name in wanted}
    elif wanted and isinstance(columns["attention"], pl.Array):
        of = [ORIGINAL, *wanted]
        few = Layout(order.images, tuple(view for view in order.views if view in of))
        for block in blocks(rows.filter(pl.col("view").is_in(of)).select("attention"), len(few.views)):
            maps = block["attention"]
            # With `store` metrics few rows have a map, and most blocks none.
            there = maps.null_count() < len(maps)
            each = attention_entropy(maps.to_numpy()[:, None]) if there else np.full(len(maps), np.nan)
            spread = each.reshape(-1, len(few.views))
            rises: Values = np.asarray(spread - spread[:, few.positions(ORIGINAL)])
            yield {("entropy_rise", name): rises[:, few.positions(name)] for name in wanted}
