"""The parts of a study: exactly the shards that its study.json implies, each undamaged."""

import concurrent.futures
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from embedshift.errors import EmbedshiftError, UsageError
from embedshift.store.checksum import Digests
from embedshift.store.info import StudyInfo
from embedshift.store.shards import ShardRecord, read_record, shard_path

# Hashing and reading beside each other; more threads gain nothing on one disk.
_THREADS = 2
# Size, time of change and inode of a file.
State = tuple[int, int, int]
# Names that look like a shard. Hidden files never do.
_LIKE_A_PART = re.compile(r"(?!\.).*(^part-|\.parquet)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Part:
    """An undamaged shard on disk."""

    path: Path
    record: ShardRecord
    digests: Digests
    rows: int


# The parts that this process has read, and the states of their files then.
_READ: dict[Path, tuple[State, Part]] = {}


def present(folder: Path, count: int) -> dict[int, Path]:
    """Returns the existing parts by index, in order, without reading them."""
    place = folder / "shards"
    names = {path.name for path in place.iterdir()} if place.is_dir() else set()
    paths = {index: path for index in range(count) if (path := shard_path(folder, index)).name in names}
    odd = sorted(name for name in names - {path.name for path in paths.values()} if _LIKE_A_PART.match(name))
    if odd:
        last = f" to {shard_path(folder, count - 1).name}" if count > 1 else ""
        words = f"not part of this study, whose shards are named {shard_path(folder, 0).name}{last}"
        raise UsageError(f"{place / odd[0]}: {words}; move it elsewhere")
    return paths


def outcomes(paths: Iterable[Path]) -> list[Part | EmbedshiftError]:
    """Returns each part, or the error why it cannot be used; reads a file again only if it has changed."""
    known = {path: _known(path) for path in paths}
    # Tables ask for the parts a hundred times; starting threads each time would take longer than all else.
    unread = [path for path, part in known.items() if part is None]
    if not unread:
        return [part for part in known.values() if part is not None]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        read = dict(zip(unread, threads.map(_outcome, unread), strict=True))
    return [part or read[path] for path, part in known.items()]


def parts(folder: Path, info: StudyInfo) -> list[Part]:
    """Returns all parts of a study, in order; for an unfinished one those that exist."""
    paths = present(folder, info.parts)
    found: list[Part] = []
    for each in outcomes(paths.values()):
        if isinstance(each, EmbedshiftError):
            raise each
        found.append(each)
        refuse_foreign(each, info)
    if info.complete:
        for index in range(info.parts):
            if index not in paths:
                words = "missing from a finished study; run the study again to measure it"
                raise UsageError(f"{shard_path(folder, index)}: {words}")
        refuse_counts(folder, info, found)
    return found


def refuse_foreign(part: Part, info: StudyInfo) -> None:
    """Refuses a shard that was measured with other settings, or lacks rows that study.json implies."""
    if part.record.config_hash != info.config_hash:
        raise UsageError(f"{part.path}: a shard of another study; move it elsewhere and run the study again")
    views = 1 + len(info.augmentations) * info.draws
    if part.rows != part.record.images * views:
        words = f"{part.rows} rows, expected {part.record.images} images of {views} views"
        raise UsageError(f"{part.path}: {words}; move it elsewhere and run the study again")


def refuse_counts(folder: Path, info: StudyInfo, found: Iterable[Part]) -> None:
    """Refuses a finished study whose shards hold other numbers of images than study.json."""
    records = [part.record for part in found]
    there = (sum(record.images for record in records), sum(len(record.failures) for record in records))
    said = (info.counts.measured, info.counts.failed)
    if there != said or sum(said) != info.counts.images:
        words = f"{there[0]} measured and {there[1]} failed images, but study.json lists {said[0]} and {said[1]}"
        raise UsageError(f"{folder}: its shards contain {words} of {info.counts.images}; run the study again")


def overall(found: Iterable[Part]) -> str:
    """Returns one checksum over those of all parts; it differs between runs, because parts store their times."""
    return hashlib.sha256("\n".join(part.digests.file for part in found).encode()).hexdigest()


def _known(path: Path) -> Part | None:
    """Returns a part that was read and whose file has not changed since."""
    try:
        state, part = _READ[path]
        return part if state == _state(path) else None
    except (KeyError, OSError):
        return None


def _outcome(path: Path) -> Part | EmbedshiftError:
    """Reads a part, or returns the error why it cannot be used."""
    try:
        state = _state(path)
        record, found, rows = read_record(path)
        if shard_path(path.parent.parent, record.index) != path:
            raise UsageError(f"{path}: contains shard {record.index} but has another name; move it elsewhere")
        _READ[path] = state, Part(path, record, found, rows)
        return _READ[path][1]
    except OSError as error:
        return EmbedshiftError(f"{path}: cannot be read ({error.strerror})")
    except EmbedshiftError as error:
        return error


def _state(path: Path) -> State:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino
