"""The table `looks`: whether attention moves with the image, and whether it spreads."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.questions.attention import ALIGNED, PLAIN, RISE
from embedshift.statistics.intervals import simultaneous_intervals
from embedshift.statistics.layout import ImageRows, side_by_side, sums_and_counts
from embedshift.statistics.sample import gather
from embedshift.store.reader import Reader
from embedshift.store.table import Table

ALIGNMENT, SPREAD = "alignment", "entropy rise"
# A difference of aligned and plain similarity at or below it is rounding: nothing was moved.
UNMOVED = 1e-9

SCHEMA = pl.Schema(
    {"augmentation": str, "what": str, "n": int, "difference": float, "low": float, "high": float, "significant": bool}
)


def looks(study: ImageRows, augmentations: Sequence[str], *, seed: int) -> pl.DataFrame:
    """Returns two differences per augmentation, each with an interval that holds for all augmentations at once."""
    if not study.layout.images:
        return pl.DataFrame(schema=SCHEMA)
    sample = gather(_differences(study, augmentations), groups=study.groups)
    is_moved = ~(np.abs(sample.mean) <= UNMOVED) | (sample.error > UNMOVED)
    tables = [pl.DataFrame(schema=SCHEMA)]
    for column, (what, metric) in enumerate(((ALIGNMENT, ALIGNED), (SPREAD, RISE))):
        if metric not in study.columns:
            continue
        indices = [index for index in range(len(augmentations)) if what == SPREAD or is_moved[2 * index]]
        part = sample.columns([2 * index + column for index in indices])
        keys = {"augmentation": [augmentations[index] for index in indices], "what": [what] * len(indices)}
        numbers = {"n": part.images_having, "difference": part.mean, **vars(simultaneous_intervals(part, seed=seed))}
        tables.append(pl.DataFrame(keys | numbers, schema=SCHEMA))
    return pl.concat(tables).fill_nan(None)


def _differences(study: ImageRows, augmentations: Sequence[str]) -> Iterator[tuple[Values, Values]]:
    """Yields aligned minus plain, then the entropy rise, augmentation by augmentation; NaN for missing columns."""
    columns, order = [PLAIN, ALIGNED, RISE], study.layout
    for block in study.blocks(*(name for name in columns if name in study.columns)):
        metric_values = order.numbers(block, columns)
        values = np.stack([metric_values[..., 1] - metric_values[..., 0], metric_values[..., 2]], axis=-1)
        yield side_by_side(sums_and_counts(values[:, order.positions(name)]) for name in augmentations)


TABLES: tuple[Table[Reader], ...] = (
    Table(
        "looks",
        lambda reader: looks(reader.image_rows, reader.augmentations, seed=reader.info.seed),
        is_available=lambda reader: ALIGNED in reader.metrics or RISE in reader.metrics,
        requires="optional metrics of attention: run it with `metrics` attention,aligned,rollout",
        doc="Differences between attention maps by augmentation: the gain of alignment, and the rise of entropy.",
    ),
)
