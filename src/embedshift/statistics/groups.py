"""The rows of a study in groups of images: what tables add up is added up group by group, anywhere, and merged.

Where the groups are cut depends on the number of images alone, and partials are merged in their order: a table has the
same bits whoever computed which of them.
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
    """Some consecutive images of a study; it can be pickled where it is to be read elsewhere."""

    @property
    def start(self) -> int:
        """Images of the study before it."""

    def rows(self) -> pl.LazyFrame:
        """Its rows."""


class Over(Protocol):
    """Calls a function that can be pickled with each of some things; yields the results in their order."""

    def __call__(self, function: Callable[[A], T], items: Sequence[A], /) -> Iterator[T]:
        """As `map`."""


def here(function: Callable[[A], T], items: Sequence[A]) -> Iterator[T]:
    """One after the other in this process."""
    return map(function, items)


@dataclass(frozen=True)
class Slice:
    """A group of rows that this process has.

    Args:
        whole: All rows.
        start: Images before it.
        first: Rows before it.
        count: Its rows.
    """

    whole: pl.LazyFrame
    start: int
    first: int
    count: int

    def rows(self) -> pl.LazyFrame:
        """Its rows."""
        return self.whole.slice(self.first, self.count)


@dataclass(frozen=True, eq=False)
class Groups:
    """The rows of a study in groups of `GROUP` images.

    Args:
        whole: All rows.
        order: Their layout.
        items: The groups, in order; none where there are no images.
        over: Who computes what is computed of each.
    """

    whole: pl.LazyFrame
    order: Layout
    items: Sequence[Group]
    over: Over = here

    @functools.cached_property
    def columns(self) -> pl.Schema:
        """Names and types of the columns."""
        return self.whole.collect_schema()

    def each(self, function: Callable[[Group], T]) -> Iterator[T]:
        """What a function that can be pickled gives for each group, in order."""
        return self.over(functools.partial(_on_one_thread, function), self.items)

    def head(self, images: int) -> pl.LazyFrame:
        """The rows of the first images, of one group at most."""
        return self.items[0].rows().head(images * len(self.order.views))


# What tables take: the rows of a study, or groups of them.
Rows = pl.LazyFrame | Groups
# Reads sums over the draws and counts of K numbers, some images at a time: `[b, K]` each. It can be pickled.
Read = Callable[[pl.LazyFrame], Iterator[tuple[Values, Values]]]


def grouped(rows: Rows) -> Groups:
    """The rows of a study in groups.

    Example:
        >>> grouped(pl.LazyFrame({"view": ["original", "blur"] * 3})).order
        Layout(images=3, views=('original', 'blur'))
    """
    if isinstance(rows, Groups):
        return rows
    order = layout(rows)
    views = len(order.views)
    cuts = [(start, min(GROUP, order.images - start)) for start in range(0, order.images, GROUP)]
    return Groups(rows, order, [Slice(rows, start, start * views, count * views) for start, count in cuts])


def gather(rows: Groups, read: Read, *, together: bool = True, sizes: Sequence[int] | None = None) -> sample.Sample:
    """The sample of the images of a study with at least one, as `sample.gather` gives it.

    Up to one group it has the same bits; the sums of more are merged, which differs by rounding.

    Args:
        rows: The study.
        read: Gives the numbers.
        together: Whether numbers will be combined.
        sizes: Numbers of images of consecutive groups that means are resampled by.
    """
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
    """The partial of one group."""
    moments = Moments(centre, together)
    by_group = None if sizes is None else GroupSums(sizes, group.start)
    for sums, counts in read(group.rows()):
        moments.add(sums, counts)
        if by_group is not None:
            by_group.add(sums, counts)
    return moments, by_group


def _on_one_thread(function: Callable[[Group], T], group: Group) -> T:
    """The products of a block are small: threads would cost more than they gain, and may sum in another order."""
    with threadpool_limits(1):
        return function(group)
