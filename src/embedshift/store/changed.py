"""Finds images that may have changed since they were measured, by file times and stored hashes."""

import contextlib
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import polars as pl

from embedshift.sources import ImageRef, Shard
from embedshift.statistics.layout import scan
from embedshift.store.shards import ShardRecord, shard_path

# The most files with a later time that are read, because all of them may only have been moved.
MOST_READ = 256


def changed_images(cut: Sequence[Shard], done: Mapping[int, ShardRecord]) -> list[ImageRef]:
    """Returns up to 256 images of finished shards whose files changed after the shard was measured."""
    changed: list[ImageRef] = []
    for shard in cut:
        if shard.index in done:
            written = done[shard.index].written
            changed += (image for image in shard.samples if _changed_after(image, written))
    return changed[:MOST_READ]


def measured_pixels(folder: Path, indices: Collection[int], image_ids: Collection[str]) -> dict[str, str]:
    if not image_ids or not indices:
        return {}
    rows = scan([shard_path(folder, index) for index in sorted(indices)])
    rows = rows.filter(pl.col("pixels").is_not_null() & pl.col("image_id").is_in(list(image_ids)))
    return dict(rows.select("image_id", "pixels").collect().iter_rows())


def _changed_after(sample: ImageRef, time: float) -> bool:
    """Compares the change time of a file, which users cannot set."""
    with contextlib.suppress(OSError, ValueError):
        return not sample.archive and os.stat(sample.location).st_ctime > time
    return False
