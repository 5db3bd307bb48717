"""Checks at the start of a run that the folder holds the same study."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from embedshift.errors import UsageError
from embedshift.sources.base import storable
from embedshift.statistics.layout import scan
from embedshift.store import shards
from embedshift.store.answers import other_answers
from embedshift.store.checksum import Damaged
from embedshift.store.differences import differences
from embedshift.store.info import Answer, StudyInfo, read_info
from embedshift.store.parts import Part, existing_shards, read_parts, refuse_foreign
from embedshift.store.reader import Reader

log = logging.getLogger(__name__)


def resumable(
    out: Path,
    identity: Mapping[str, Any],
    config_hash: str,
    image_ids: Collection[str],
    *,
    repair: bool = False,
    answers: Mapping[str, Answer] | None = None,
) -> dict[int, shards.ShardRecord]:
    """Returns the finished shards of this study; refuses another study in the folder and names the differences."""
    stored = read_info(out) if Reader(out).exists() else None
    count = stored.shard_count if stored else -(-len(image_ids) // identity["shard_size"])
    parts, damaged = _undamaged_parts(existing_shards(out, count).values(), stored, repair=repair)
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
        if not hashes:  # no readable file says which study it belongs to
            raise damage
        log.warning("%s: damaged; deleting it and measuring it again", damage.path)
        damage.path.unlink()
    for path in shards.leftovers(out):
        path.unlink()
    return {part.record.index: part.record for part in parts}


def refuse_other_studies(parts: Sequence[Part], stored: StudyInfo | None) -> None:
    """Refuses shards with the settings of the study, but of another one, such as a study of other images."""
    for part in parts:
        if stored is not None:
            refuse_foreign(part, stored)
        elif part.record.study_id != parts[0].record.study_id:
            words = "shards of two studies with equal settings"
            raise UsageError(f"{parts[0].path} and {part.path}: {words}; move those of the other one elsewhere")


def _undamaged_parts(
    paths: Iterable[Path], stored: StudyInfo | None, *, repair: bool
) -> tuple[list[Part], list[Damaged]]:
    parts: list[Part] = []
    damaged: list[Damaged] = []
    for part in read_parts(paths, stored):
        if isinstance(part, Part):
            parts.append(part)
        elif repair and isinstance(part, Damaged):
            damaged.append(part)
        else:
            raise part
    return parts, damaged


def _added_and_removed(parts: Sequence[Part], count: int, image_ids: Collection[str]) -> list[str]:
    before = {failure.image_id for part in parts for failure in part.record.failures}
    if parts:
        before |= set(scan([part.path for part in parts]).select("image_id").collect()["image_id"])
    now = {storable(image_id) for image_id in image_ids}
    added = sorted(now - before) if len(parts) == count else []  # else they may only be still to come
    return [
        f"{word}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
        for word, names in (("added", added), ("removed", sorted(before - now)))
        if names
    ]
