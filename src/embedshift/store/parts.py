"""The parts of a study: exactly the shards that its study.json implies, each as it was written."""

import concurrent.futures
import functools
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
# Anything that somebody might take for a shard. Hidden files are nobody's shards.
_LIKE_A_PART = re.compile(r"(?!\.).*(^part-|\.parquet)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Part:
    """A shard on disk that is as it was written.

    Args:
        path: Where.
        record: What it says of itself.
        digests: Its checksums.
        rows: How many rows it has.
    """

    path: Path
    record: ShardRecord
    digests: Digests
    rows: int


def present(folder: Path, count: int) -> dict[int, Path]:
    """The parts that are there, by index, in order; unread.

    Args:
        folder: The study's folder.
        count: How many parts the study has.

    Raises:
        UsageError: for a file that looks like a part and is none of them, as a copy that a program for sharing files
            made.
    """
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
    """Each part, or why it cannot be used; each is read once as long as it is the same file."""
    asked = list(paths)
    if len(asked) < _THREADS:  # small studies are read a hundred times for their tables; threads would take most of it
        return [_outcome(path) for path in asked]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(_outcome, asked))


def parts(folder: Path, info: StudyInfo) -> list[Part]:
    """All parts of a study, in order; of an unfinished one those that are there.

    Raises:
        EmbedshiftError: one line for a part that is damaged, missing, twice there or of another study; and where the
            parts together are not what study.json says.
    """
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
    """Refuses a shard that was measured with other settings, or has not the rows that study.json implies."""
    if part.record.config_hash != info.config_hash:
        raise UsageError(f"{part.path}: a shard of another study; move it elsewhere and run the study again")
    views = 1 + len(info.augmentations) * info.draws
    if part.rows != part.record.images * views:
        words = f"{part.rows} rows, expected {part.record.images} images of {views} views"
        raise UsageError(f"{part.path}: {words}; move it elsewhere and run the study again")


def refuse_counts(folder: Path, info: StudyInfo, found: Iterable[Part]) -> None:
    """Refuses a finished study whose shards hold other numbers of images than study.json says."""
    records = [part.record for part in found]
    there = (sum(record.images for record in records), sum(len(record.failures) for record in records))
    said = (info.counts.measured, info.counts.failed)
    if there != said or sum(said) != info.counts.images:
        words = f"{there[0]} measured and {there[1]} failed images, but study.json lists {said[0]} and {said[1]}"
        raise UsageError(f"{folder}: its shards contain {words} of {info.counts.images}; run the study again")


def overall(found: Iterable[Part]) -> str:
    """One checksum over those of all parts; another for every run, as each says how long it took."""
    return hashlib.sha256("\n".join(part.digests.file for part in found).encode()).hexdigest()


def _outcome(path: Path) -> Part | EmbedshiftError:
    try:
        state = path.stat()
        return _read(path, state.st_size, state.st_mtime_ns, state.st_ino)
    except OSError as error:
        return EmbedshiftError(f"{path}: cannot be read ({error.strerror})")
    except EmbedshiftError as error:
        return error


# More than the shards of any study: with fewer, every pass over one would hash all its shards again.
@functools.lru_cache(maxsize=1 << 20)
def _read(path: Path, *state: int) -> Part:
    """A part in this state of its file."""
    record, found, rows = read_record(path)
    if shard_path(path.parent.parent, record.index) != path:
        raise UsageError(f"{path}: contains shard {record.index} but has another name; move it elsewhere")
    return Part(path, record, found, rows)
