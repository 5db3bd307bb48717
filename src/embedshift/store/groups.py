"""Groups of a study's images in its shards, which any process can read under the same path."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from embedshift.errors import EmbedshiftError
from embedshift.statistics import groups
from embedshift.statistics.groups import Groups, Over
from embedshift.statistics.layout import Layout
from embedshift.store.parts import Part, outcomes


@dataclass(frozen=True)
class ShardGroup:
    """Consecutive images of a study."""

    start: int
    paths: tuple[Path, ...]
    digests: tuple[str, ...]
    first: int
    count: int

    def rows(self) -> pl.LazyFrame:
        """Returns its rows."""
        for path, found, digest in zip(self.paths, outcomes(self.paths), self.digests, strict=True):
            if isinstance(found, EmbedshiftError):
                raise found
            if found.digests.file != digest:
                raise EmbedshiftError(f"{path}: the shard changed while the tables were being made")
        return scan(self.paths).slice(self.first, self.count)


def scan(paths: Sequence[Path]) -> pl.LazyFrame:
    """Returns the rows of some shards as a lazy frame."""
    # A list, since polars would take brackets in the folder's name for a pattern.
    return pl.scan_parquet(list(paths), glob=False)


def groups_of(parts: Sequence[Part], over: Over) -> Groups:
    """Returns the rows of a study's shards in groups."""
    images = sum(part.record.images for part in parts)
    first = next((part for part in parts if part.record.images), None)
    whole = scan([part.path for part in parts])
    if first is None:
        return Groups(whole, Layout(0, ()), [], over)
    views = scan([first.path]).select("view").head(first.rows // first.record.images).collect()["view"]
    return Groups(whole, Layout(images, tuple(views)), list(_cut(parts, images, len(views))), over)


def _cut(parts: Sequence[Part], images: int, views: int) -> Iterator[ShardGroup]:
    """Yields the groups, each with the shards that hold one of its images."""
    ends = list(itertools.accumulate(part.record.images for part in parts))
    at = 0
    for start in range(0, images, groups.GROUP):
        end = min(start + groups.GROUP, images)
        while ends[at] <= start:
            at += 1
        last = at
        while ends[last] < end:
            last += 1
        held = parts[at : last + 1]
        before = ends[at] - parts[at].record.images
        paths, digests = tuple(part.path for part in held), tuple(part.digests.file for part in held)
        yield ShardGroup(start, paths, digests, (start - before) * views, (end - start) * views)
