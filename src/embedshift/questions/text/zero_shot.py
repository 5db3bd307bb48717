"""The table `zero_shot`: how often views keep the class of their original, and by which margin."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.statistics.chunks import Rows, chunked
from embedshift.statistics.intervals import mean_interval, proportion_interval
from embedshift.statistics.layout import blocks, side_by_side, sums_and_counts
from embedshift.statistics.sample import gather

NUMBERS = ("agreement", "ci_low", "ci_high", "margin_before", "margin", "margin_low", "margin_high")
SCHEMA: dict[str, type[pl.DataType]] = {"augmentation": pl.String, "n": pl.Int64, **dict.fromkeys(NUMBERS, pl.Float64)}


def zero_shot(rows: Rows, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    """Returns the agreement of views with their originals on the class, and the lead of that class."""
    study = chunked(rows)
    order = study.order
    if not order.images:
        return pl.DataFrame(schema=SCHEMA)

    def parts() -> Iterator[tuple[Values, Values]]:
        measured = ["zero_shot_flip", "zero_shot_margin_shift"]
        for block in blocks(study.all_rows.select(*measured, "zero_shot_margin"), len(order.views)):
            before = order.values(block, ORIGINAL, ["zero_shot_margin"])
            views = (order.values(block, name, measured) for name in augmentations)
            yield side_by_side(sums_and_counts(_agreement_and_margins(values, before)) for values in views)

    sample = gather(parts(), together=False, units=study.units)
    agreement, before, margin = (sample.columns(range(start, 3 * len(augmentations), 3)) for start in range(3))
    ends = mean_interval(margin, seed=seed, low=-2.0, high=2.0)
    numbers = (agreement.mean, *proportion_interval(agreement), before.mean, margin.mean, *ends)
    columns = {"augmentation": augmentations, "n": agreement.counts.astype(np.int64)}
    return pl.DataFrame(columns | dict(zip(NUMBERS, numbers, strict=True)), schema=SCHEMA).fill_nan(None)


def _agreement_and_margins(values: Values, before: Values) -> Values:
    """Converts flips and shifts of margins `[b, draws, 2]` to agreement, margin of the original, margin of the view."""
    flips, shifts = values[..., 0], values[..., 1]
    margin = before[..., 0] + shifts
    return np.stack([1 - flips, margin - shifts, margin], axis=-1)
