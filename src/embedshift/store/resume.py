"""The content of a run's folder: the finished shards of its study, and images that changed since."""

import contextlib
import itertools
import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources import ImageRef, Shard
from embedshift.sources.base import storable
from embedshift.statistics.layout import scan
from embedshift.store.files import Damaged
from embedshift.store.info import FILE, Answer, StudyInfo, differences, other_answers
from embedshift.store.listing import Listing, refuse_foreign
from embedshift.store.shards import ShardFile, ShardRecord, leftovers, shard_path

log = logging.getLogger(__name__)

# Maximum files with a later time that are read; all may only have been moved.
MOST_READ = 256
# Shards whose images are checked in parallel.
_AT_ONCE = 16


def resumable(
    listing: Listing,
    identity: Mapping[str, Any],
    config_hash: str,
    image_ids: Collection[str],
    *,
    repair: bool = False,
    answers: Mapping[str, Answer] | None = None,
) -> dict[int, ShardRecord]:
    """Returns the finished shards of this study; refuses another study and names the differences."""
    out, stored = listing.folder, listing.info if (listing.folder / FILE).exists() else None
    count = stored.shard_count if stored else -(-len(image_ids) // identity["shard_size"])
    parts, damaged = _undamaged(listing.read(count).values(), repair=repair)
    hashes = {part.record.config_hash for part in parts} | ({stored.config_hash} if stored else set())
    if hashes - {config_hash}:
        stored_identity = stored.identity if stored else {}
        changes = differences(stored_identity, identity) or ["the configuration"]
        if stored_identity.get("images") != identity["images"]:
            changes += _added_and_removed(parts, count, image_ids)
        raise UsageError(f"{out} contains another study: {'; '.join(changes)}. Choose another `out`, or delete it")
    if stored is not None and (moved := other_answers(stored, answers or {})):
        raise UsageError(f"{out} contains another study: {moved}. Choose another `out`, or delete it")
    refuse_other_studies(parts, stored)
    for damage in damaged:
        if not hashes:  # no readable file identifies the study
            raise damage
        log.warning("%s: damaged; deleting it and measuring it again", damage.path)
        damage.path.unlink()
    for path in leftovers(out):
        path.unlink()
    return {part.record.index: part.record for part in parts}


def refuse_other_studies(parts: Sequence[ShardFile], stored: StudyInfo | None) -> None:
    """Refuses shards of another study with equal settings, such as a study of other images."""
    for part in parts:
        if stored is not None:
            refuse_foreign(part, stored)
        elif part.record.study_id != parts[0].record.study_id:
            words = "shards of two studies with equal settings"
            raise UsageError(f"{parts[0].path} and {part.path}: {words}; move those of the other one elsewhere")


def _undamaged(found: Iterable[ShardFile | EmbedshiftError], *, repair: bool) -> tuple[list[ShardFile], list[Damaged]]:
    parts: list[ShardFile] = []
    damaged: list[Damaged] = []
    for part in found:
        if isinstance(part, ShardFile):
            parts.append(part)
        elif repair and isinstance(part, Damaged):
            damaged.append(part)
        else:
            raise part
    return parts, damaged


def _added_and_removed(parts: Sequence[ShardFile], count: int, image_ids: Collection[str]) -> list[str]:
    before = {failure.image_id for part in parts for failure in part.record.failures}
    if parts:
        before |= set(scan([part.path for part in parts]).select("image_id").collect()["image_id"])
    now = {storable(image_id) for image_id in image_ids}
    added = sorted(now - before) if len(parts) == count else []  # else they may still be missing
    return [
        f"{word}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
        for word, names in (("added", added), ("removed", sorted(before - now)))
        if names
    ]


def changed_images(cut: Sequence[Shard], done: Mapping[int, ShardRecord]) -> list[ImageRef]:
    """Returns up to 256 images of finished shards whose files changed after the shard was measured."""

    def changed_in(shard: Shard) -> list[ImageRef]:
        return [image for image in shard.samples if _changed_after(image, done[shard.index].written)]

    # For millions of files on a network disk, most of the time is waiting.
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        changed = threads.map(changed_in, [shard for shard in cut if shard.index in done])
        return list(itertools.islice(itertools.chain.from_iterable(changed), MOST_READ))


def measured_pixels(folder: Path, indices: Collection[int], image_ids: Collection[str]) -> dict[str, str]:
    if not image_ids or not indices:
        return {}
    rows = scan([shard_path(folder, index) for index in sorted(indices)])
    rows = rows.filter(pl.col("pixels").is_not_null() & pl.col("image_id").is_in(list(image_ids)))
    return dict(rows.select("image_id", "pixels").collect().iter_rows())


def _changed_after(sample: ImageRef, time: float) -> bool:
    # By the change time of the file, which users cannot set.
    with contextlib.suppress(OSError, ValueError):
        return not sample.archive and os.stat(sample.location).st_ctime > time
    return False
