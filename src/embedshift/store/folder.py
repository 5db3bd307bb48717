"""Checks at the start of a run that the folder holds the same study."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from embedshift.errors import UsageError
from embedshift.sources.base import storable
from embedshift.store import shards
from embedshift.store.checksum import Damaged
from embedshift.store.differences import differences
from embedshift.store.info import read_info
from embedshift.store.parts import Part, outcomes, present
from embedshift.store.reader import Reader

log = logging.getLogger(__name__)


def resumable(
    out: Path, identity: Mapping[str, Any], config_hash: str, image_ids: Collection[str], *, repair: bool = False
) -> dict[int, shards.ShardRecord]:
    """Returns the finished shards of this study; refuses another study in the folder and names the differences."""
    stored = read_info(out) if Reader(out).exists() else None
    count = stored.parts if stored else -(-len(image_ids) // identity["shard_size"])
    found, damaged = _whole_parts(present(out, count).values(), repair=repair)
    hashes = {part.record.config_hash for part in found} | ({stored.config_hash} if stored else set())
    if hashes - {config_hash}:
        then = stored.identity if stored else {}
        what = differences(then, identity) or ["the configuration"]
        if then.get("images") != identity["images"]:
            what += _moved_images(found, count, image_ids)
        raise UsageError(f"{out} contains another study: {'; '.join(what)}. Choose another `out`, or delete it")
    for each in damaged:
        if not hashes:  # nothing here says whose it is
            raise each
        log.warning("%s: damaged; deleting it and measuring it again", each.path)
        each.path.unlink()
    for path in shards.leftovers(out):
        path.unlink()
    return {part.record.index: part.record for part in found}


def _whole_parts(paths: Iterable[Path], *, repair: bool) -> tuple[list[Part], list[Damaged]]:
    """Returns the undamaged parts, and the damaged ones if they may be measured again."""
    found: list[Part] = []
    damaged: list[Damaged] = []
    for each in outcomes(paths):
        if isinstance(each, Part):
            found.append(each)
        elif repair and isinstance(each, Damaged):
            damaged.append(each)
        else:
            raise each
    return found, damaged


def _moved_images(found: Sequence[Part], count: int, image_ids: Collection[str]) -> list[str]:
    """Returns the names of added or removed images, as far as the finished shards know."""
    before = {failure.image_id for part in found for failure in part.record.failures}
    if found:
        rows = pl.scan_parquet([part.path for part in found], glob=False)
        before |= set(rows.select("image_id").collect()["image_id"])
    now = {storable(image_id) for image_id in image_ids}
    added = sorted(now - before) if len(found) == count else []  # else they may only be still to come
    return [
        f"{word}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
        for word, names in (("added", added), ("removed", sorted(before - now)))
        if names
    ]
