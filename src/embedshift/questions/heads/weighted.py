"""Contributions of an augmentation: those of its views, weighted by how far each view moves."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.statistics.intervals import ratio_interval
from embedshift.statistics.layout import Layout, Rows, blocks, image_rows
from embedshift.statistics.summary import COSINE

NUMBERS = ("contribution", "ci_low", "ci_high")


def contribution_intervals(
    rows: Rows,
    augmentations: Sequence[str],
    columns: Sequence[str],
    combine: Callable[[Values], Values] = np.asarray,
    *,
    seed: int,
) -> Iterator[tuple[str, dict[str, Values]]]:
    """Yields for each augmentation K contributions of its mean shift, with 95 % intervals."""
    study = image_rows(rows)
    for name in augmentations if study.order.images else ():
        weighted = _weighted(study.frame, study.order, name, columns, combine)
        ratios = ratio_interval(weighted, seed=seed, groups=study.groups)
        yield name, dict(zip(NUMBERS, ratios, strict=True))


def _weighted(
    rows: pl.LazyFrame, order: Layout, name: str, columns: Sequence[str], combine: Callable[[Values], Values]
) -> Iterator[tuple[Values, Values]]:
    """Yields, some images at a time, contribution * (1 - cosine) summed over draws `[b, K]`, and 1 - cosine `[b]`."""
    moved, draws = rows.filter(pl.col("view") == name).select(COSINE, *columns), len(order.positions(name))
    for block in blocks(moved, draws):
        shift = 1 - numbers_of(block, [COSINE]).reshape(-1, draws)
        contributions = numbers_of(block, columns)
        contributions = combine(contributions.reshape(*shift.shape, contributions.shape[1]))
        # A view without contributions has null or NaN in all of them; so has one that did not move.
        is_measured = np.isfinite(contributions).all(axis=2) & (shift > 0)
        weight = np.where(is_measured, shift, 0.0)
        yield (np.where(is_measured[..., None], contributions, 0.0) * weight[..., None]).sum(axis=1), weight.sum(axis=1)


def numbers_of(rows: pl.DataFrame, columns: Sequence[str]) -> Values:
    """Concatenates columns of lists and of numbers, float64 `[n, C]`; null becomes NaN."""
    return np.column_stack([rows[name].to_numpy() for name in columns]).astype(np.float64)


def length_of(rows: pl.LazyFrame, name: str) -> int:
    kind = rows.collect_schema()[name]
    assert isinstance(kind, pl.Array)
    return kind.size
