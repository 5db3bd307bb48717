"""Groups of consecutive images: tables are summed group by group, on any process, and merged.

The groups depend only on the number of images, and partial sums are merged in order. So a table has the same bits
whichever process computed which group.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import polars as pl
from threadpoolctl import threadpool_limits

from embedshift.arrays import Values
from embedshift.statistics import sample
from embedshift.statistics.layout import BLOCK, Layout, layout
from embedshift.statistics.moments import GroupSums, Moments

# Images of a group: whole blocks, so that the blocks of a study are those that it has uncut.
GROUP = 64 * BLOCK

A = TypeVar("A")
T = TypeVar("T")


class Group(Protocol):
    """Consecutive images of a study; it can be pickled if another process reads it."""

    @property
    def start(self) -> int:
        """Number of images of the study before it."""

    def rows(self) -> pl.LazyFrame:
        """Returns its rows."""


class Over(Protocol):
    """Calls a function that can be pickled with each item; yields the results in the order of the items."""

    def __call__(self, function: Callable[[A], T], items: Sequence[A], /) -> Iterator[T]:
        """Behaves as `map`."""


def here(function: Callable[[A], T], items: Sequence[A]) -> Iterator[T]:
    """Calls the function with one item after the other in this process."""
    return map(function, items)


@dataclass(frozen=True)
class Slice:
    """A group of rows that this process has."""

    whole: pl.LazyFrame
    start: int
    first: int
    count: int

    def rows(self) -> pl.LazyFrame:
        """Returns its rows."""
        return self.whole.slice(self.first, self.count)


@dataclass(frozen=True, eq=False)
class Groups:
    """The rows of a study in groups of `GROUP` images."""

    whole: pl.LazyFrame
    order: Layout
    items: Sequence[Group]
    over: Over = here

    @functools.cached_property
    def columns(self) -> pl.Schema:
        """Names and types of the columns."""
        return self.whole.collect_schema()

    def each(self, function: Callable[[Group], T]) -> Iterator[T]:
        """Yields the results of a function that can be pickled for each group, in order."""
        return self.over(functools.partial(_on_one_thread, function), self.items)

    def head(self, images: int) -> pl.LazyFrame:
        """Returns the rows of the first images, at most one group."""
        return self.items[0].rows().head(images * len(self.order.views))


# What tables take: the rows of a study, or groups of them.
Rows = pl.LazyFrame | Groups
# Reads sums over the draws and counts of K numbers, some images at a time: `[b, K]` each. It can be pickled.
Read = Callable[[pl.LazyFrame], Iterator[tuple[Values, Values]]]


def grouped(rows: Rows) -> Groups:
    """Splits the rows of a study into groups."""
    if isinstance(rows, Groups):
        return rows
    order = layout(rows)
    views = len(order.views)
    cuts = [(start, min(GROUP, order.images - start)) for start in range(0, order.images, GROUP)]
    return Groups(rows, order, [Slice(rows, start, start * views, count * views) for start, count in cuts])


def gather(rows: Groups, read: Read, *, together: bool = True, sizes: Sequence[int] | None = None) -> sample.Estimates:
    """Returns the sample of a study's images, of which there is at least one, as `sample.gather` does."""
    if len(rows.items) == 1 or rows.order.images <= sample.IN_MEMORY:
        parts = (part for group in rows.items for part in read(group.rows()))
        with threadpool_limits(1):
            return sample.gather(parts, together=together, groups=sizes)
    centre = sample.centre_of(read(rows.head(sample.IN_MEMORY // BLOCK * BLOCK + BLOCK)))
    work = functools.partial(_sums, read=read, centre=centre, together=together, sizes=sizes)
    partials = rows.each(work)
    moments, by_group = next(partials)
    for others, more in partials:
        moments.merge(others)
        if by_group is not None and more is not None:
            by_group.merge(more)
    return sample.with_groups(sample.of_moments(moments), by_group)


def _sums(
    group: Group, *, read: Read, centre: Values, together: bool, sizes: Sequence[int] | None
) -> tuple[Moments, GroupSums | None]:
    """Returns the partial sums of one group."""
    moments = Moments(centre, together)
    by_group = None if sizes is None else GroupSums(sizes, group.start)
    for sums, counts in read(group.rows()):
        moments.add(sums, counts)
        if by_group is not None:
            by_group.add(sums, counts)
    return moments, by_group


def _on_one_thread(function: Callable[[Group], T], group: Group) -> T:
    """Calls a function on one thread: the products of a block are small, and threads may sum in another order."""
    with threadpool_limits(1):
        return function(group)
