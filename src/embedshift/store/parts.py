"""The parts of a study: exactly the shards that its study.json implies, each undamaged."""

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
# Names that look like a shard. Hidden files never do.
_LIKE_A_PART = re.compile(r"(?!\.).*(^part-|\.parquet)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Part:
    """An undamaged shard on disk.

    Args:
        path: Its path.
        record: Its record.
        digests: Its checksums.
        rows: Number of its rows.
    """

    path: Path
    record: ShardRecord
    digests: Digests
    rows: int


def present(folder: Path, count: int) -> dict[int, Path]:
    """Returns the existing parts by index, in order, without reading them.

    Args:
        folder: The study's folder.
        count: Number of parts of the study.

    Raises:
        UsageError: A file looks like a part but is none, such as a copy made by a file-sharing program.
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
    """Returns each part, or the error why it cannot be used; reads a file again only if it has changed."""
    asked = list(paths)
    if len(asked) < _THREADS:  # small studies are read a hundred times; starting threads would take most of it
        return [_outcome(path) for path in asked]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(_outcome, asked))


def parts(folder: Path, info: StudyInfo) -> list[Part]:
    """Returns all parts of a study, in order; for an unfinished one those that exist.

    Raises:
        EmbedshiftError: A part is damaged, missing, duplicated or of another study, or all parts together differ from
            study.json.
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
    """Reads a part in this state of its file."""
    record, found, rows = read_record(path)
    if shard_path(path.parent.parent, record.index) != path:
        raise UsageError(f"{path}: contains shard {record.index} but has another name; move it elsewhere")
    return Part(path, record, found, rows)
