"""The parts of a study: exactly the shards that its study.json implies, undamaged."""

import concurrent.futures
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from embedshift.config.files import open_file
from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.store.checksum import Damaged, State, file_checksum, file_state, rows_checksum
from embedshift.store.info import ShardPixels, StudyInfo
from embedshift.store.shards import SUMS_KEY, ShardRecord, read_record, shard_path

# Hashing and reading beside each other; more threads gain nothing on one disk.
_THREADS = 2
# Names that look like a shard. Hidden files never do.
_LIKE_A_PART = re.compile(r"(?!\.).*(^part-|\.parquet)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Part:
    """An undamaged shard on disk, with the SHA-256 of its file, and of its rows and sums."""

    path: Path
    record: ShardRecord
    checksum: str
    rows_checksum: str
    rows: int
    schema: pa.Schema


# The parts that this process has read, and the states of their files then.
_READ: dict[Path, tuple[State, Part]] = {}
# The same of shards whose records alone were read: the checksums of their rows as they were written.
_ROWS_RECORDED: dict[Path, tuple[State, str]] = {}
# One object for all shards of equal columns.
_SCHEMAS: dict[pa.Schema, pa.Schema] = {}


def existing_shards(folder: Path, count: int) -> dict[int, Path]:
    """Returns the existing parts by index, in order, without reading them."""
    shards = folder / "shards"
    names = {path.name for path in shards.iterdir()} if shards.is_dir() else set()
    paths = {index: path for index in range(count) if (path := shard_path(folder, index)).name in names}
    foreign = sorted(name for name in names - {path.name for path in paths.values()} if _LIKE_A_PART.match(name))
    if foreign:
        last = f" to {shard_path(folder, count - 1).name}" if count > 1 else ""
        words = f"not part of this study, whose shards are named {shard_path(folder, 0).name}{last}"
        raise UsageError(f"{shards / foreign[0]}: {words}; move it elsewhere")
    return paths


def shard_name(path: Path) -> str:
    return f"shards/{path.name}"


def shard_checksums(paths: Iterable[Path]) -> dict[str, str]:
    """Returns the checksums of shards as study.json records them."""
    return {shard_name(path): file_checksum(path) for path in paths}


def shard_pixels(records: Iterable[ShardRecord]) -> dict[str, ShardPixels]:
    """Returns the pixels of shards as study.json records them."""
    return {
        shard_name(shard_path(Path(), record.index)): ShardPixels(images=record.images, digest=record.pixels)
        for record in records
    }


def read_parts(paths: Iterable[Path], info: StudyInfo | None) -> list[Part | EmbedshiftError]:
    """Returns each part, or the error why it cannot be used; reads a file again only if it has changed."""
    unchanged = {path: _unchanged_part(path, info) for path in paths}
    # Tables ask for the parts a hundred times; starting threads each time would take longer than all else.
    unread = [path for path, part in unchanged.items() if part is None]
    if not unread:
        return [part for part in unchanged.values() if part is not None]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        results = dict(zip(unread, threads.map(lambda path: _read_part(path, info), unread), strict=True))
    return [part or results[path] for path, part in unchanged.items()]


def parts(folder: Path, info: StudyInfo) -> list[Part]:
    """Returns all parts of a study, in order; for an unfinished one those that exist."""
    paths = existing_shards(folder, info.shard_count)
    usable: list[Part] = []
    for part in read_parts(paths.values(), info):
        if isinstance(part, EmbedshiftError):
            raise part
        usable.append(part)
        refuse_foreign(part, info)
    if info.complete:
        for index in range(info.shard_count):
            if index not in paths:
                words = "missing from a finished study; run the study again to measure it"
                raise UsageError(f"{shard_path(folder, index)}: {words}")
        refuse_counts(folder, info, usable)
    return usable


def _is_of_study(record: ShardRecord, info: StudyInfo) -> bool:
    return (record.config_hash, record.study_id) == (info.config_hash, info.study_id)


def refuse_foreign(part: Part, info: StudyInfo) -> None:
    """Refuses a shard of another study or of other images, or one that lacks rows that study.json implies."""
    if not _is_of_study(part.record, info):
        raise UsageError(f"{part.path}: a shard of another study; move it elsewhere and run the study again")
    refuse_other_pixels(part.path, part.record, info.pixels.get(shard_name(part.path)))
    views = 1 + len(info.augmentations) * info.draws
    if part.rows != part.record.images * views:
        words = f"{part.rows} rows, expected {part.record.images} images of {views} views"
        raise UsageError(f"{part.path}: {words}; move it elsewhere and run the study again")


def refuse_other_pixels(path: Path, record: ShardRecord, first: ShardPixels | None) -> None:
    """Refuses a shard whose images have other pixels than when the study first measured them."""
    if first is not None and record.images == first.images and record.pixels != first.digest:
        words = "its images have other pixels than when the study measured them first"
        raise UsageError(f"{path}: {words}; restore the images, or choose another `out`")


def refuse_counts(folder: Path, info: StudyInfo, usable: Iterable[Part]) -> None:
    """Refuses a finished study whose shards hold other numbers of images than study.json."""
    counts, records = info.counts, [part.record for part in usable]
    measured, failed = sum(record.images for record in records), sum(len(record.failures) for record in records)
    if (measured, failed) != (counts.measured, counts.failed) or measured + failed != info.images_tried:
        listed = f"study.json lists {counts.measured} and {counts.failed} of {info.images_tried}"
        words = f"{measured} measured and {failed} failed images, but {listed}"
        raise UsageError(f"{folder}: its shards contain {words}; run the study again")


def study_checksum(usable: Iterable[Part]) -> str:
    """Returns one checksum over those of all parts; it differs between runs, because parts store their times."""
    return hashlib.sha256("\n".join(part.checksum for part in usable).encode()).hexdigest()


def measured_checksum(usable: Iterable[Part]) -> str:
    """Returns one checksum over the rows and sums of all parts; equal for two runs of one study."""
    return hashlib.sha256("\n".join(part.rows_checksum for part in usable).encode()).hexdigest()


def recorded_checksum(folder: Path, info: StudyInfo) -> str:
    """Returns the `measured_checksum` of the shards as their records give it, without reading their rows."""
    checksums = map(_rows_recorded, existing_shards(folder, info.shard_count).values())
    return hashlib.sha256("\n".join(checksums).encode()).hexdigest()


def _rows_recorded(path: Path) -> str:
    try:
        state = file_state(path)
        if path in _READ and _READ[path][0] == state:
            return _READ[path][1].rows_checksum
        if path not in _ROWS_RECORDED or _ROWS_RECORDED[path][0] != state:
            open_file(path).close()  # refuses what is no file, for which the reader would wait
            _ROWS_RECORDED[path] = state, read_record(path)[1]
    except OSError as error:
        raise EmbedshiftError(f"{path}: cannot be read ({error.strerror})") from error
    return _ROWS_RECORDED[path][1]


def _recorded_checksum(path: Path, info: StudyInfo | None) -> str | None:
    return info.files.get(shard_name(path)) if info else None


def _unchanged_part(path: Path, info: StudyInfo | None) -> Part | None:
    """Returns a part that was read and whose file has not changed since."""
    try:
        state, part = _READ[path]
        return part if state == file_state(path) and _recorded_checksum(path, info) in (None, part.checksum) else None
    except (KeyError, OSError):
        return None


def _read_part(path: Path, info: StudyInfo | None) -> Part | EmbedshiftError:
    """Reads a part, or returns the error why it cannot be used."""
    try:
        state, checksum = file_state(path), file_checksum(path)
        record, rows_checksum, rows, schema = read_record(path)
        if shard_path(path.parent.parent, record.index) != path:
            raise UsageError(f"{path}: contains shard {record.index} but has another name; move it elsewhere")
        recorded = _recorded_checksum(path, info)
        if recorded is None:
            _check_rows(path, rows_checksum)
        elif info and recorded != checksum and _is_of_study(record, info):
            raise Damaged(path, "its content does not match its checksum")
        schema = _SCHEMAS.setdefault(schema, schema)
        _READ[path] = state, Part(path, record, checksum, rows_checksum, rows, schema)
        return _READ[path][1]
    except OSError as error:
        return EmbedshiftError(f"{path}: cannot be read ({error.strerror})")
    except EmbedshiftError as error:
        return error


def _check_rows(path: Path, checksum: str) -> None:
    """Raises Damaged if the rows or sums of a shard differ from their checksum, or two readers read other rows."""
    try:
        with pq.ParquetFile(path.absolute()) as file:
            table, metadata = file.read(), file.metadata.metadata
        equal = rows_checksum(table, metadata.get(SUMS_KEY, b"")) == checksum
        equal = equal and pl.read_parquet(path.absolute(), glob=False).equals(pl.DataFrame(table), null_equal=True)
    except Exception as error:
        raise Damaged(path, reason(error)) from error
    if not equal:
        raise Damaged(path, "its rows do not match their checksum")
