"""Chunks of a study's images in its shards, which any process can read under the same path."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from embedshift.errors import EmbedshiftError
from embedshift.statistics import chunks
from embedshift.statistics.chunks import Chunks, OrderedMap
from embedshift.statistics.layout import Layout
from embedshift.store.files import file_checksum
from embedshift.store.listing import Part


@dataclass(frozen=True)
class ShardChunk:
    """Consecutive images of a study."""

    start: int
    paths: tuple[Path, ...]
    checksums: tuple[str, ...]
    first: int
    count: int

    def rows(self) -> pl.LazyFrame:
        for path, checksum in zip(self.paths, self.checksums, strict=True):
            if file_checksum(path) != checksum:
                raise EmbedshiftError(f"{path}: the shard changed while the tables were being made")
        return scan(self.paths).slice(self.first, self.count)


def scan(paths: Sequence[Path]) -> pl.LazyFrame:
    # A list, since polars would take brackets in the folder's name for a pattern.
    return pl.scan_parquet([path.absolute() for path in paths], glob=False)


def study_chunks(parts: Sequence[Part], ordered_map: OrderedMap) -> Chunks:
    """Chunks of consecutive images; the rows of one chunk may come from two shards or more."""
    images = sum(part.record.images for part in parts)
    first = next((part for part in parts if part.record.images), None)
    rows = scan([part.path for part in parts])
    if first is None:
        return Chunks(rows, Layout(0, ()), [], ordered_map)
    views = scan([first.path]).select("view").head(first.rows // first.record.images).collect()["view"]
    return Chunks(rows, Layout(images, tuple(views)), list(_cut(parts, images, len(views))), ordered_map)


def _cut(parts: Sequence[Part], images: int, views: int) -> Iterator[ShardChunk]:
    ends = list(itertools.accumulate(part.record.images for part in parts))
    index = 0
    for start in range(0, images, chunks.CHUNK):
        end = min(start + chunks.CHUNK, images)
        while ends[index] <= start:
            index += 1
        last = index
        while ends[last] < end:
            last += 1
        members = parts[index : last + 1]
        earlier_images = ends[index] - parts[index].record.images
        paths, checksums = tuple(part.path for part in members), tuple(part.checksum for part in members)
        yield ShardChunk(start, paths, checksums, (start - earlier_images) * views, (end - start) * views)
