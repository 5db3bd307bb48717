"""How the values of single views are spread: standard deviations and quantiles, exact whatever the number of images.

Of one group of images the values are sorted. Of more, they are counted first, group by group, between some values of
the first group; then those are collected that lie where a quantile is. A quantile is the same number in both ways; a
standard deviation differs by rounding.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import Values
from embedshift.statistics.groups import Group, Groups
from embedshift.statistics.layout import Layout, blocks

QUANTILES = {"q05": 0.05, "median": 0.5, "q95": 0.95}
# Values between which those of many groups are counted: a thousandth of all lies between two of them.
EDGES = 1_024

Places = NDArray[np.intp]


def spreads(rows: Groups, augmentations: Sequence[str], metrics: Sequence[str]) -> Iterator[dict[str, object]]:
    """`n, sd, median, q05, q95` of the views of A augmentations, metric by metric; NaN and null are left out.

    Args:
        rows: The study.
        augmentations: A names.
        metrics: M columns.

    Yields:
        A times M, augmentation by augmentation. sd (ddof = 1) and quantiles (linear) are null where there is none.
    """
    if len(rows.items) > 1:
        yield from _of_many(rows, augmentations, metrics)
        return
    for name in augmentations:
        part = rows.whole.filter(pl.col("view") == name).select(pl.col(metrics).cast(pl.Float64))
        values = part.collect(engine="streaming")
        for metric in metrics:
            yield spread(values[metric].fill_null(np.nan).to_numpy())


def spread(values: Values) -> dict[str, object]:
    """The same of values in memory.

    Example:
        >>> spread(np.array([1.0, np.nan, 3.0]))["median"]
        2.0
    """
    # Sorted, since a stream may give the rows in another order, and sums in another order differ by rounding.
    used = _sorted(values)
    if not len(used):
        return {"n": 0}
    found = np.quantile(used, [*QUANTILES.values()])
    sd = float(used.std(ddof=1)) if len(used) > 1 else None
    return {"n": len(used), "sd": sd, **dict(zip(QUANTILES, found.tolist(), strict=True))}


@dataclass(frozen=True)
class Columns:
    """K columns of values: metrics of the views of augmentations, a column for each of both.

    Args:
        order: The layout of the rows.
        augmentations: A names.
        metrics: M names.
    """

    order: Layout
    augmentations: Sequence[str]
    metrics: Sequence[str]

    def sorted(self, rows: pl.LazyFrame) -> list[Values]:
        """The values of each column, sorted, without NaN."""
        every = [self.order.numbers(block, self.metrics) for block in self._blocks(rows)]
        return [
            _sorted(np.concatenate([block[:, places, k] for block in every], axis=None))
            for places in map(self.order.positions, self.augmentations)
            for k in range(len(self.metrics))
        ]

    def _blocks(self, rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        return blocks(rows.select(self.metrics), len(self.order.views))


@dataclass
class Counted:
    """What is counted of a column: it merges.

    Args:
        count: Number of values.
        total: Sum of their distances from a centre.
        squares: Sum of the squares of these.
        cells: Number of values by cell: below the first edge, on it, between it and the second, on that, and so on.
    """

    count: int
    total: float
    squares: float
    cells: NDArray[np.int64]

    def merge(self, other: "Counted") -> None:
        """The values of the groups that follow."""
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        self.cells = self.cells + other.cells

    def sd(self) -> float | None:
        """Standard deviation (ddof = 1)."""
        if self.count < 2:
            return None
        return float(np.sqrt(max(0.0, self.squares - self.total**2 / self.count) / (self.count - 1)))


def _of_many(rows: Groups, augmentations: Sequence[str], metrics: Sequence[str]) -> Iterator[dict[str, object]]:
    columns = Columns(rows.order, augmentations, metrics)
    edges = [_edges(values) for values in columns.sorted(rows.items[0].rows())]
    counted = rows.each(functools.partial(_counted, columns=columns, edges=edges))
    found = next(counted)
    for more in counted:
        for total, counts in zip(found, more, strict=True):
            total.merge(counts)
    wanted = [_wanted(each) for each in found]
    held: list[dict[int, list[Values]]] = [{cell: [] for cell in cells} for cells in wanted]
    for collected in rows.each(functools.partial(_collected, columns=columns, edges=edges, wanted=wanted)):
        for into, part in zip(held, collected, strict=True):
            for cell, values in part.items():
                into[cell].append(values)
    for each, own, parts in zip(found, edges, held, strict=True):
        yield _described(each, own, {cell: np.sort(np.concatenate(some)) for cell, some in parts.items()})


def _edges(values: Values) -> Values:
    """Some of sorted values, evenly among them, each once."""
    return np.unique(values[np.linspace(0, len(values) - 1, min(EDGES, len(values))).astype(np.intp)])


def _cuts(values: Values, edges: Values) -> Places:
    """Where sorted values begin to lie on each edge and behind it: the ends of all cells but the last."""
    return np.stack([np.searchsorted(values, edges, "left"), np.searchsorted(values, edges, "right")], axis=1).ravel()


def _counted(group: Group, *, columns: Columns, edges: Sequence[Values]) -> list[Counted]:
    """The partial of one group: column by column, what is counted."""
    found = []
    for values, own in zip(columns.sorted(group.rows()), edges, strict=True):
        off = values - (own[len(own) // 2] if len(own) else 0.0)
        cells = np.diff(_cuts(values, own), prepend=0, append=len(values)).astype(np.int64)
        found.append(Counted(len(values), float(off.sum()), float((off**2).sum()), cells))
    return found


def _collected(
    group: Group, *, columns: Columns, edges: Sequence[Values], wanted: Sequence[Sequence[int]]
) -> list[dict[int, Values]]:
    """The partial of one group: column by column, its values in the cells that are wanted."""
    found = []
    for values, own, cells in zip(columns.sorted(group.rows()), edges, wanted, strict=True):
        ends = [0, *_cuts(values, own).tolist(), len(values)]
        # Copies, since a part of an array holds all of it.
        found.append({cell: values[ends[cell] : ends[cell + 1]].copy() for cell in cells})
    return found


def _ranks(count: int) -> Iterator[tuple[int, int, float]]:
    """The two values that each quantile lies between, by rank, and how far from the first."""
    for share in QUANTILES.values():
        place = share * (count - 1)
        first = int(place)
        yield first, min(first + 1, count - 1), place - first


def _wanted(of: Counted) -> list[int]:
    """The cells with a value that a quantile lies beside, but those on an edge, whose value is known."""
    if not of.count:
        return []
    ends = np.cumsum(of.cells)
    cells = np.searchsorted(ends, [rank for first, second, _ in _ranks(of.count) for rank in (first, second)], "right")
    return sorted({int(cell) for cell in cells if cell % 2 == 0})


def _described(of: Counted, edges: Values, held: dict[int, Values]) -> dict[str, object]:
    """The row of one column.

    Args:
        of: What was counted.
        edges: Its edges.
        held: The values of the cells that hold a quantile, sorted.
    """
    if not of.count:
        return {"n": 0}
    ends = np.cumsum(of.cells)

    def value(rank: int) -> float:
        cell = int(np.searchsorted(ends, rank, "right"))
        return float(edges[cell // 2] if cell % 2 else held[cell][rank - int(ends[cell] - of.cells[cell])])

    found = {
        # By NumPy's own rule, so that it is the quantile of all values to the bit.
        name: float(np.quantile([value(first), value(second)], share))
        for name, (first, second, share) in zip(QUANTILES, _ranks(of.count), strict=True)
    }
    return {"n": of.count, "sd": of.sd(), **found}


def _sorted(values: Values) -> Values:
    return np.sort(values[~np.isnan(values)])
