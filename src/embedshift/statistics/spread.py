"""Standard deviations and quantiles of the values of single views, exact for any number of images.

The values of a single chunk of images are sorted. Those of several chunks are first counted, chunk by chunk, between
some values of the first chunk; then the values around each quantile are collected. Both ways give the same quantiles;
standard deviations differ by rounding.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import Values
from embedshift.statistics.chunks import Chunk, Chunks
from embedshift.statistics.layout import Layout, blocks

QUANTILES = {"q05": 0.05, "median": 0.5, "q95": 0.95}
# Values between which those of many chunks are counted: a thousandth of all lies between two of them.
EDGES = 1_024

Places = NDArray[np.intp]


def spreads(rows: Chunks, augmentations: Sequence[str], metrics: Sequence[str]) -> Iterator[dict[str, object]]:
    """Yields `n, sd, median, q05, q95` of the views of A augmentations, metric by metric, without NaN and null."""
    if len(rows.items) > 1:
        yield from _spreads_of_chunks(rows, augmentations, metrics)
    elif rows.items:
        yield from map(spread, Columns(rows.order, augmentations, metrics).sorted(rows.all_rows))
    else:
        yield from [spread(np.empty(0))] * (len(augmentations) * len(metrics))


def spread(values: Values) -> dict[str, object]:
    # Sorted, since a stream may give the rows in another order, and sums in another order differ by rounding.
    used = _sorted(values)
    if not len(used):
        return {"n": 0}
    quantiles = np.quantile(used, [*QUANTILES.values()])
    sd = float(used.std(ddof=1)) if len(used) > 1 else None
    return {"n": len(used), "sd": sd, **dict(zip(QUANTILES, quantiles.tolist(), strict=True))}


@dataclass(frozen=True)
class Columns:
    """K columns of values: one for each augmentation and metric."""

    order: Layout
    augmentations: Sequence[str]
    metrics: Sequence[str]

    def sorted(self, rows: pl.LazyFrame) -> list[Values]:
        every = [self.order.numbers(block, self.metrics) for block in self._blocks(rows)]
        return [
            _sorted(np.concatenate([block[:, positions, k] for block in every], axis=None))
            for positions in map(self.order.positions, self.augmentations)
            for k in range(len(self.metrics))
        ]

    def _blocks(self, rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        return blocks(rows.select(self.metrics), len(self.order.views))


@dataclass
class Counted:
    """The counts of a column; counts of chunks can be merged."""

    count: int
    total: float
    squares: float
    cells: NDArray[np.int64]

    def merge(self, other: "Counted") -> None:
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        self.cells = self.cells + other.cells

    def sd(self) -> float | None:
        if self.count < 2:
            return None
        return float(np.sqrt(max(0.0, self.squares - self.total**2 / self.count) / (self.count - 1)))


def _spreads_of_chunks(
    rows: Chunks, augmentations: Sequence[str], metrics: Sequence[str]
) -> Iterator[dict[str, object]]:
    columns = Columns(rows.order, augmentations, metrics)
    edges = [_edges(values) for values in columns.sorted(rows.items[0].rows())]
    counted = rows.map_chunks(functools.partial(_counted, columns=columns, edges=edges))
    totals = next(counted)
    for chunk_counts in counted:
        for total, counts in zip(totals, chunk_counts, strict=True):
            total.merge(counts)
    wanted = [_wanted(column) for column in totals]
    values_by_cell: list[dict[int, list[Values]]] = [{cell: [] for cell in cells} for cells in wanted]
    for collected in rows.map_chunks(functools.partial(_collected, columns=columns, edges=edges, wanted=wanted)):
        for column_values, part in zip(values_by_cell, collected, strict=True):
            for cell, values in part.items():
                column_values[cell].append(values)
    for column, column_edges, parts in zip(totals, edges, values_by_cell, strict=True):
        cells = {cell: np.sort(np.concatenate(values)) for cell, values in parts.items()}
        yield _described(column, column_edges, cells)


def _edges(values: Values) -> Values:
    return np.unique(values[np.linspace(0, len(values) - 1, min(EDGES, len(values))).astype(np.intp)])


def _cuts(values: Values, edges: Values) -> Places:
    """Returns where sorted values begin to lie on each edge and behind it: the ends of all cells but the last."""
    return np.stack([np.searchsorted(values, edges, "left"), np.searchsorted(values, edges, "right")], axis=1).ravel()


def _counted(chunk: Chunk, *, columns: Columns, edges: Sequence[Values]) -> list[Counted]:
    counts = []
    for values, column_edges in zip(columns.sorted(chunk.rows()), edges, strict=True):
        off = values - (column_edges[len(column_edges) // 2] if len(column_edges) else 0.0)
        cells = np.diff(_cuts(values, column_edges), prepend=0, append=len(values)).astype(np.int64)
        counts.append(Counted(len(values), float(off.sum()), float((off**2).sum()), cells))
    return counts


def _collected(
    chunk: Chunk, *, columns: Columns, edges: Sequence[Values], wanted: Sequence[Sequence[int]]
) -> list[dict[int, Values]]:
    collected = []
    for values, column_edges, cells in zip(columns.sorted(chunk.rows()), edges, wanted, strict=True):
        ends = [0, *_cuts(values, column_edges).tolist(), len(values)]
        # Copies, because a slice keeps the whole array in memory.
        collected.append({cell: values[ends[cell] : ends[cell + 1]].copy() for cell in cells})
    return collected


def _ranks(count: int) -> Iterator[tuple[int, int, float]]:
    for fraction in QUANTILES.values():
        rank = fraction * (count - 1)
        first = int(rank)
        yield first, min(first + 1, count - 1), rank - first


def _wanted(counted: Counted) -> list[int]:
    if not counted.count:
        return []
    ends = np.cumsum(counted.cells)
    cells = np.searchsorted(
        ends, [rank for first, second, _ in _ranks(counted.count) for rank in (first, second)], "right"
    )
    return sorted({int(cell) for cell in cells if cell % 2 == 0})


def _described(counted: Counted, edges: Values, values_by_cell: dict[int, Values]) -> dict[str, object]:
    if not counted.count:
        return {"n": 0}
    ends = np.cumsum(counted.cells)

    def value(rank: int) -> float:
        cell = int(np.searchsorted(ends, rank, "right"))
        return float(
            edges[cell // 2] if cell % 2 else values_by_cell[cell][rank - int(ends[cell] - counted.cells[cell])]
        )

    quantiles = {
        # By NumPy's own rule, so that it is the quantile of all values to the bit.
        name: float(np.quantile([value(first), value(second)], fraction))
        for name, (first, second, fraction) in zip(QUANTILES, _ranks(counted.count), strict=True)
    }
    return {"n": counted.count, "sd": counted.sd(), **quantiles}


def _sorted(values: Values) -> Values:
    return np.sort(values[~np.isnan(values)])
