"""Chunks of consecutive images: tables are summed chunk by chunk, on any process, and merged.

The chunks depend only on the number of images, and partial sums are merged in order. So a table has the same bits
whichever process computed which chunk.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import polars as pl

from embedshift.arrays import Units, Values
from embedshift.config.processes import one_thread
from embedshift.statistics import sample
from embedshift.statistics.layout import BLOCK, Layout, layout
from embedshift.statistics.moments import ChunkSums, GroupSums, Moments

# Images of a chunk: whole blocks, so that the blocks of a study are those that it has uncut.
CHUNK = 64 * BLOCK

A = TypeVar("A")
T = TypeVar("T")


class Chunk(Protocol):
    """Consecutive images of a study; it can be pickled if another process reads it."""

    @property
    def start(self) -> int:
        """Number of images of the study before it."""

    def rows(self) -> pl.LazyFrame:
        """Returns its rows."""


class OrderedMap(Protocol):
    """Calls a function that can be pickled with each item; yields the results in the order of the items."""

    def __call__(self, function: Callable[[A], T], items: Sequence[A], /) -> Iterator[T]:
        """Behaves as `map`."""


def map_here(function: Callable[[A], T], items: Sequence[A]) -> Iterator[T]:
    return map(function, items)


@dataclass(frozen=True)
class Slice:
    """A chunk of rows that this process has."""

    all_rows: pl.LazyFrame
    start: int
    first: int
    count: int

    def rows(self) -> pl.LazyFrame:
        return self.all_rows.slice(self.first, self.count)


@dataclass(frozen=True, eq=False)
class Chunks:
    """The rows of a study in chunks of `CHUNK` images, and the group of each image if images belong to groups."""

    all_rows: pl.LazyFrame
    order: Layout
    items: Sequence[Chunk]
    ordered_map: OrderedMap = map_here
    units: Units | None = None

    @functools.cached_property
    def columns(self) -> pl.Schema:
        return self.all_rows.collect_schema()

    def map_chunks(self, function: Callable[[Chunk], T]) -> Iterator[T]:
        return self.ordered_map(functools.partial(_on_one_thread, function), self.items)

    def head(self, images: int) -> pl.LazyFrame:
        return self.items[0].rows().head(images * len(self.order.views))


# What tables take: the rows of a study, or chunks of them.
Rows = pl.LazyFrame | Chunks
# Reads sums over the draws and counts of K numbers, some images at a time: `[b, K]` each. It can be pickled.
Read = Callable[[pl.LazyFrame], Iterator[tuple[Values, Values]]]


def chunked(rows: Rows) -> Chunks:
    if isinstance(rows, Chunks):
        return rows
    order = layout(rows)
    views = len(order.views)
    cuts = [(start, min(CHUNK, order.images - start)) for start in range(0, order.images, CHUNK)]
    return Chunks(rows, order, [Slice(rows, start, start * views, count * views) for start, count in cuts])


def gather(rows: Chunks, read: Read, *, together: bool = True, sizes: Sequence[int] | None = None) -> sample.Estimates:
    if len(rows.items) == 1 or rows.order.images <= sample.IN_MEMORY:
        parts = (part for chunk in rows.items for part in read(chunk.rows()))
        with one_thread():
            return sample.gather(parts, together=together, chunks=sizes, units=rows.units)
    if rows.units is not None:
        groups = GroupSums(rows.units)
        for part, present in rows.map_chunks(functools.partial(_group_sums, read=read, units=rows.units)):
            groups.merge(part, present)
        return sample.estimates_of_groups(groups, together=together, by_group=sizes is not None)
    centre = sample.centre_of(read(rows.head(sample.IN_MEMORY // BLOCK * BLOCK + BLOCK)))
    work = functools.partial(_sums, read=read, centre=centre, together=together, sizes=sizes)
    partials = rows.map_chunks(work)
    moments, by_chunk = next(partials)
    for chunk_moments, chunk_sums in partials:
        moments.merge(chunk_moments)
        if by_chunk is not None and chunk_sums is not None:
            by_chunk.merge(chunk_sums)
    return sample.with_chunks(sample.estimates_from_moments(moments), by_chunk)


def _sums(
    chunk: Chunk, *, read: Read, centre: Values, together: bool, sizes: Sequence[int] | None
) -> tuple[Moments, ChunkSums | None]:
    moments = Moments(centre, together)
    by_chunk = None if sizes is None else ChunkSums(sizes, chunk.start)
    for sums, counts in read(chunk.rows()):
        moments.add(sums, counts)
        if by_chunk is not None:
            by_chunk.add(sums, counts)
    return moments, by_chunk


def _group_sums(chunk: Chunk, *, read: Read, units: Units) -> tuple[GroupSums, Units]:
    present, numbers = np.unique(units[chunk.start : chunk.start + CHUNK], return_inverse=True)
    groups = GroupSums(numbers)
    for sums, counts in read(chunk.rows()):
        groups.add(sums, counts)
    return groups, present


def _on_one_thread(function: Callable[[Chunk], T], chunk: Chunk) -> T:
    """Calls a function on one thread: the products of a block are small, and threads may sum in another order."""
    with one_thread():
        return function(chunk)
