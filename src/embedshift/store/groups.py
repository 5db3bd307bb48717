"""Groups of a study's images in its shards: read here, or wherever the same shards lie under the same path."""

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
    """Some consecutive images of a study.

    Args:
        start: Images before it.
        paths: The shards that it lies in.
        digests: Their checksums.
        first: Rows of the first shard before it.
        count: Its rows.
    """

    start: int
    paths: tuple[Path, ...]
    digests: tuple[str, ...]
    first: int
    count: int

    def rows(self) -> pl.LazyFrame:
        """Its rows.

        Raises:
            EmbedshiftError: where its shards cannot be read, or are others than those of the study.
        """
        for path, found, digest in zip(self.paths, outcomes(self.paths), self.digests, strict=True):
            if isinstance(found, EmbedshiftError):
                raise found
            if found.digests.file != digest:
                raise EmbedshiftError(f"{path}: the shard changed while the tables were being made")
        return scan(self.paths).slice(self.first, self.count)


def scan(paths: Sequence[Path]) -> pl.LazyFrame:
    """The rows of some shards, lazily."""
    # A list, since polars would take brackets in the folder's name for a pattern.
    return pl.scan_parquet(list(paths), glob=False)


def groups_of(parts: Sequence[Part], over: Over) -> Groups:
    """The rows of a study's shards, in groups.

    Args:
        parts: At least one.
        over: Who computes what is computed of each group.
    """
    images = sum(part.record.images for part in parts)
    first = next((part for part in parts if part.record.images), None)
    whole = scan([part.path for part in parts])
    if first is None:
        return Groups(whole, Layout(0, ()), [], over)
    views = scan([first.path]).select("view").head(first.rows // first.record.images).collect()["view"]
    return Groups(whole, Layout(images, tuple(views)), list(_cut(parts, images, len(views))), over)


def _cut(parts: Sequence[Part], images: int, views: int) -> Iterator[ShardGroup]:
    """The groups, each with the shards that hold an image of it."""
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
