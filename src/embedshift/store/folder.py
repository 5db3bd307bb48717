"""The study's folder while a run is at work in it: the lock, and the check that it holds the same study."""

import contextlib
import errno
import fcntl
import json
import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from embedshift.config.files import open_own
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources.base import storable
from embedshift.store import shards
from embedshift.store.checksum import Damaged
from embedshift.store.info import read_info
from embedshift.store.parts import Part, outcomes, present
from embedshift.store.reader import Reader

log = logging.getLogger(__name__)

# Folders that runs of this process are at work in, by device and number.
_HELD: set[tuple[int, int]] = set()
_GUARD = threading.Lock()
_AT_WORK = "another run is at work here; wait for it or choose another `out`"


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Makes the folder and keeps a second run out of it.

    The kernel holds the lock for this process alone and not for its children, so that any death frees it.

    Raises:
        EmbedshiftError: when another run holds it, or the folder cannot be written.
    """
    if storable(str(out)) != str(out):  # Arrow and Polars open no such path
        raise UsageError(f"{storable(str(out))}: holds bytes that are not UTF-8; choose another `out`")
    try:
        (out / "shards").mkdir(parents=True, exist_ok=True)
        place = out.stat()
    except OSError as error:
        raise UsageError(f"{out}: cannot be written ({error.strerror})") from error
    key = (place.st_dev, place.st_ino)
    with _GUARD:
        if key in _HELD:  # the kernel asks no thread of this process
            raise EmbedshiftError(f"{out}: {_AT_WORK}")
        _HELD.add(key)
    try:
        with _lock_file(out) as lock:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise EmbedshiftError(f"{out}: {_AT_WORK}") from error
            yield
    finally:
        _HELD.discard(key)


def _lock_file(out: Path) -> BinaryIO:
    """The open lock, made where it is missing; what somebody else put in its place is neither followed nor changed."""
    path = out / ".lock"
    try:
        return open_own(path)
    except OSError as error:
        others = {errno.ELOOP: "a link", errno.EINVAL: "no regular file"}
        if error.errno in others:
            raise UsageError(f"{path}: {others[error.errno]}, and no lock of embedshift; delete it") from error
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error


def resumable(
    out: Path, identity: Mapping[str, Any], config_hash: str, image_ids: Collection[str], *, repair: bool = False
) -> dict[int, shards.ShardRecord]:
    """The finished shards of this very study; another study in the folder is refused, and what differs is named.

    Args:
        out: The folder.
        identity: All that can change a number.
        config_hash: Over it.
        image_ids: The images of the study.
        repair: Whether damaged shards are deleted, so that they are measured again.

    Raises:
        UsageError: when the folder holds another study.
    """
    stored = read_info(out) if Reader(out).exists() else None
    count = stored.parts if stored else -(-len(image_ids) // identity["shard_size"])
    found, damaged = _whole_parts(present(out, count).values(), repair=repair)
    hashes = {part.record.config_hash for part in found} | ({stored.config_hash} if stored else set())
    if hashes - {config_hash}:
        then = stored.identity if stored else {}
        what = differences(then, identity) or ["the configuration"]
        if then.get("images") != identity["images"]:
            what += _moved_images(found, count, image_ids)
        raise UsageError(f"{out} holds another study: {'; '.join(what)}. Choose another `out`, or delete it")
    for each in damaged:
        if not hashes:  # nothing here says whose it is
            raise each
        log.warning("%s: damaged; it is deleted and measured again", each.path)
        each.path.unlink()
    for path in shards.leftovers(out):
        path.unlink()
    return {part.record.index: part.record for part in found}


def _whole_parts(paths: Iterable[Path], *, repair: bool) -> tuple[list[Part], list[Damaged]]:
    """The parts that are as they were written, and those that are damaged, where these may be made again."""
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
    """Names of images that were added or removed, as far as the finished shards know."""
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


def differences(
    then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "", *, words: tuple[str, str] = ("there", "now")
) -> list[str]:
    """What differs between two configurations, setting by setting.

    Args:
        then: One.
        now: The other.
        prefix: Goes before every name.
        words: What to call the two.

    Example:
        >>> differences({"seed": 0, "size": 224}, {"seed": 1, "size": 224})
        ['seed: 0 there, 1 now']
    """
    found: list[str] = []
    for key in dict.fromkeys([*then, *now]):
        old, new = then.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{prefix}{key}.", words=words)
        elif old != new:
            found.append(f"{prefix}{key}: {_short(old)} {words[0]}, {_short(new)} {words[1]}")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
