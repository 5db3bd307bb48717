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
from embedshift.store.checksum import Damaged, WhileUnchanged, file_checksum, rows_checksum
from embedshift.store.info import ShardPixels, StudyInfo
from embedshift.store.shards import SUMS_KEY, ShardRecord, read_record, shard_path

# Hashing and reading beside each other; more threads gain nothing on one disk.
_THREADS = 2
# Names that look like a shard. Hidden files never do.
_LIKE_A_PART = re.compile(r"(?!\.).*(^part-|\.parquet)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Part:
    """An undamaged shard on disk, with the SHA-256 of its file."""

    path: Path
    record: ShardRecord
    checksum: str
    rows: int
    schema: pa.Schema


# One object for all shards of equal columns.
_SCHEMAS: dict[pa.Schema, pa.Schema] = {}


def existing_shards(folder: Path, count: int) -> dict[int, Path]:
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
    return {shard_name(path): file_checksum(path) for path in paths}


def shard_pixels(records: Iterable[ShardRecord]) -> dict[str, ShardPixels]:
    return {
        shard_name(shard_path(Path(), record.index)): ShardPixels(images=record.images, digest=record.pixels)
        for record in records
    }


def read_parts(paths: Iterable[Path], info: StudyInfo | None) -> list[Part | EmbedshiftError]:
    """Returns each part, or the error why it cannot be used; reads a file again only if it has changed."""
    paths = list(paths)
    # Tables ask for the parts a hundred times; starting threads each time would take longer than all else.
    if all(path in _part for path in paths):
        return [_read_part(path, info) for path in paths]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(lambda path: _read_part(path, info), paths))


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
    counts, records = info.counts, [part.record for part in usable]
    measured, failed = sum(record.images for record in records), sum(len(record.failures) for record in records)
    if (measured, failed) != (counts.measured, counts.failed) or measured + failed != info.images_tried:
        listed = f"study.json lists {counts.measured} and {counts.failed} of {info.images_tried}"
        words = f"{measured} measured and {failed} failed images, but {listed}"
        raise UsageError(f"{folder}: its shards contain {words}; run the study again")


def study_checksum(usable: Iterable[Part]) -> str:
    """Returns one checksum over those of all parts; it differs between runs, because parts store their times."""
    return hashlib.sha256("\n".join(part.checksum for part in usable).encode()).hexdigest()


def measured_checksum(records: Iterable[ShardRecord]) -> str:
    """Returns one checksum over the rows and sums of all shards; equal for two runs of one study."""
    return hashlib.sha256("\n".join(record.rows_checksum for record in records).encode()).hexdigest()


@WhileUnchanged
def _recorded(path: Path) -> tuple[ShardRecord, int, pa.Schema]:
    open_file(path).close()  # refuses what is no file, for which the reader would wait
    record, rows, schema = read_record(path)
    return record, rows, _SCHEMAS.setdefault(schema, schema)


@WhileUnchanged
def _part(path: Path) -> Part:
    checksum = file_checksum(path)
    record, rows, schema = _recorded(path)
    return Part(path, record, checksum, rows, schema)


def _read_part(path: Path, info: StudyInfo | None) -> Part | EmbedshiftError:
    try:
        part = _part(path)
        if shard_path(path.parent.parent, part.record.index) != path:
            raise UsageError(f"{path}: contains shard {part.record.index} but has another name; move it elsewhere")
        recorded = info.files.get(shard_name(path)) if info else None
        if recorded is None and not _has_recorded_rows(path):
            raise Damaged(path, "its rows do not match their checksum")
        if info and recorded not in (None, part.checksum) and _is_of_study(part.record, info):
            raise Damaged(path, "its content does not match its checksum")
        return part
    except EmbedshiftError as error:
        return error


@WhileUnchanged
def _has_recorded_rows(path: Path) -> bool:
    try:
        with pq.ParquetFile(path.absolute()) as file:
            table, metadata = file.read(), file.metadata.metadata
        equal = rows_checksum(table, metadata.get(SUMS_KEY, b"")) == _part(path).record.rows_checksum
        return equal and pl.read_parquet(path.absolute(), glob=False).equals(pl.DataFrame(table), null_equal=True)
    except Exception as error:
        raise Damaged(path, reason(error)) from error
