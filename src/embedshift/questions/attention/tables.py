"""The table `looks`: whether attention moves with the image, and whether it spreads."""

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.questions.attention.columns import ALIGNED, PLAIN, RISE
from embedshift.statistics.groups import Rows, gather, grouped
from embedshift.statistics.intervals import simultaneous_intervals
from embedshift.statistics.layout import Layout, blocks, side_by_side, sums_and_counts
from embedshift.store.reader import Reader
from embedshift.store.tables import Table

ALIGNMENT, SPREAD = "alignment", "entropy rise"
# A difference of aligned and plain similarity at or below it is rounding: nothing was moved.
UNMOVED = 1e-9

SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    "what": pl.String,
    "n": pl.Int64,
    **dict.fromkeys(("difference", "low", "high"), pl.Float64),
    "significant": pl.Boolean,
}


def looks(rows: Rows, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    """Returns two differences per augmentation, each with an interval that holds for all augmentations at once."""
    study = grouped(rows)
    there = study.columns.names()
    if not study.items:
        return pl.DataFrame(schema=SCHEMA)
    sample = gather(study, functools.partial(_differences, order=study.order, augmentations=augmentations))
    moves = ~(np.abs(sample.mean) <= UNMOVED) | (sample.error > UNMOVED)
    made: list[dict[str, object]] = []
    for column, (what, metric) in enumerate(((ALIGNMENT, ALIGNED), (SPREAD, RISE))):
        if metric not in there:
            continue
        chosen = [place for place in range(len(augmentations)) if what == SPREAD or moves[2 * place]]
        part = sample.columns([2 * place + column for place in chosen])
        together = simultaneous_intervals(part, seed=seed)
        for k, place in enumerate(chosen):
            numbers = {"n": int(part.having[k]), "difference": part.mean[k]}
            ends = {"low": together.low[k], "high": together.high[k], "significant": bool(together.significant[k])}
            made.append({"augmentation": augmentations[place], "what": what, **numbers, **ends})
    return pl.DataFrame(made, schema=SCHEMA).fill_nan(None)


def _differences(rows: pl.LazyFrame, *, order: Layout, augmentations: Sequence[str]) -> Iterator[tuple[Values, Values]]:
    """Yields aligned minus plain, then the entropy rise, augmentation by augmentation; NaN for missing columns."""
    there, columns = rows.collect_schema().names(), [PLAIN, ALIGNED, RISE]
    for block in blocks(rows.select(name for name in columns if name in there), len(order.views)):
        every = order.numbers(block, columns)
        values = np.stack([every[..., 1] - every[..., 0], every[..., 2]], axis=-1)
        yield side_by_side(sums_and_counts(values[:, order.positions(name)]) for name in augmentations)


def of_study(reader: Reader) -> pl.DataFrame:
    """Returns the table of a study."""
    return looks(reader.groups, reader.augmentations, seed=reader.info.seed)


def is_possible(reader: Reader) -> bool:
    """Returns whether one of the two metrics was measured."""
    return ALIGNED in reader.metrics or RISE in reader.metrics


TABLES = (Table("looks", of_study, is_available=is_possible),)
