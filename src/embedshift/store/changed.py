"""Images that were changed after they were measured: a run that goes on names them, and keeps their rows."""

import contextlib
import os
from collections.abc import Sequence

import polars as pl

from embedshift.sources import Sample, Shard, Source, images
from embedshift.sources.base import storable
from embedshift.store.reader import Reader
from embedshift.store.shards import shard_path

# Files with a later time that are read, since all of them may have been moved.
MOST_READ = 256


def changed(reader: Reader, cut: Sequence[Shard], source: Source) -> list[str]:
    """Ids of measured images in files whose pixels are other ones now.

    A file is read only where the system changed it after its shard was written; of these, the first 256.

    Args:
        reader: The study.
        cut: Its shards.
        source: Reads the images.
    """
    later: dict[str, Sample] = {}
    for shard in cut:
        with contextlib.suppress(OSError):
            written = shard_path(reader.folder, shard.index).stat().st_mtime_ns
            later |= {storable(each.image_id): each for each in shard.samples if _is_later(each, written)}
    looked = dict(list(later.items())[:MOST_READ])
    if not looked:
        return []
    rows = reader.rows().filter(pl.col("pixels").is_not_null() & pl.col("image_id").is_in(list(looked)))
    measured = rows.select("image_id", "pixels").collect().iter_rows()
    return sorted(name for name, pixels in measured if _pixels(looked[name], source) not in (pixels, None))


def _is_later(sample: Sample, time: int) -> bool:
    """Whether a file was changed after a time; its own time of writing can be set at will, that of the change not."""
    with contextlib.suppress(OSError, ValueError):
        return not sample.archive and os.stat(sample.location).st_ctime_ns > time
    return False


def _pixels(sample: Sample, source: Source) -> str | None:
    """The hash of an image's pixels as they are now; None where it cannot be read."""
    with contextlib.suppress(Exception):
        return images.pixels_hash(images.decode(source.read(sample)))
    return None
