"""The content of a study's folder: shards implied by study.json, and undamaged files."""

import concurrent.futures
import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from embedshift.config import Json
from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.store.files import Damaged, State, file_checksum, file_state
from embedshift.store.info import FILE, ShardPixels, StudyInfo, read_info
from embedshift.store.shards import (
    SUMS_KEY,
    ShardFile,
    ShardRecord,
    read_record,
    refuse_other_pixels,
    rows_checksum,
    shard_name,
    shard_path,
)
from embedshift.store.table import alteration, is_figure_or_report

# Hashing and reading in parallel; more threads gain nothing on one disk.
_THREADS = 2
# Maximum bytes of cached sums of all shards; more are read again.
_SUMS_BYTES = 2**29
# Names that look like a shard; never hidden files.
_LIKE_A_PART = re.compile(r"(?!\.).*(^part-|\.parquet)", re.IGNORECASE | re.DOTALL)


class Listing:
    """study.json of a folder and the footers of its shards, each read once; never rows."""

    def __init__(self, folder: Path, known: dict[int, ShardFile] | None = None) -> None:
        self.folder, self.known = folder, {} if known is None else known
        self._state = self._study_state()

    @functools.cached_property
    def info(self) -> StudyInfo:
        return read_info(self.folder)

    @functools.cached_property
    def parts(self) -> list[ShardFile]:
        info, usable = self.info, list[ShardFile]()
        for part in self.read(info.shard_count).values():
            if isinstance(part, EmbedshiftError):
                raise part
            usable.append(part)
            refuse_foreign(part, info)
        if info.complete:
            there = {part.record.index for part in usable}
            for index in range(info.shard_count):
                if index not in there:
                    words = "missing from a finished study; run the study again to measure it"
                    raise UsageError(f"{shard_path(self.folder, index)}: {words}")
            refuse_counts(self.folder, info, usable)
        return usable

    def read(self, count: int) -> dict[int, ShardFile | EmbedshiftError]:
        """Returns those of `count` shards that exist, or why one cannot be used; opens only new ones."""
        paths, part = existing_shards(self.folder, count), functools.partial(self._part, count)
        if paths.keys() <= self.known.keys():
            return {index: part(index, path) for index, path in paths.items()}
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
            return dict(zip(paths, threads.map(part, paths.keys(), paths.values()), strict=True))

    def add(self, part: ShardFile, count: int) -> ShardFile:
        """Adds one of `count` shards; keeps its sums if those of all fit into memory."""
        part = part if len(part.sums or b"") * count <= _SUMS_BYTES else replace(part, sums=None)
        self.known[part.record.index] = part
        return part

    def _part(self, count: int, index: int, path: Path) -> ShardFile | EmbedshiftError:
        try:
            part, checksum = self.known.get(index), file_checksum(path)
            recorded = self._recorded.get(shard_name(path))
            if part is None or part.checksum != checksum:
                record, rows, sums = read_record(path)
                part = ShardFile(path, record, rows, checksum, sums)
                if record.index != index:
                    words = f"contains shard {record.index} but has another name; move it elsewhere"
                    raise UsageError(f"{path}: {words}")
                if recorded is None and not _has_recorded_rows(part):
                    raise Damaged(path, "its rows do not match their checksum")
            if recorded not in (None, checksum) and _is_of_study(part.record, self.info):
                raise Damaged(path, "its content does not match its checksum")
            return self.add(part, count)
        except EmbedshiftError as error:
            return error

    @functools.cached_property
    def _recorded(self) -> Mapping[str, str]:
        return {} if self._state is None else self.info.files

    def now(self) -> "Listing":
        """Returns the listing of the folder now, possibly written by another process; opens only new shards."""
        is_finished = "info" in vars(self) and self.info.complete
        is_same = is_finished and self._state == self._study_state()
        return self if is_same else Listing(self.folder, self.known)

    def _study_state(self) -> State | None:
        try:
            return file_state(self.folder / FILE)
        except OSError:
            return None


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


def shard_pixels(records: Iterable[ShardRecord]) -> dict[str, ShardPixels]:
    return {
        shard_name(shard_path(Path(), record.index)): ShardPixels(images=record.images, digest=record.pixels)
        for record in records
    }


def _is_of_study(record: ShardRecord, info: StudyInfo) -> bool:
    return (record.config_hash, record.study_id) == (info.config_hash, info.study_id)


def refuse_foreign(part: ShardFile, info: StudyInfo) -> None:
    if not _is_of_study(part.record, info):
        raise UsageError(f"{part.path}: a shard of another study; move it elsewhere and run the study again")
    refuse_other_pixels(part.path, part.record, info.pixels.get(shard_name(part.path)))
    views = 1 + len(info.augmentations) * info.draws
    if part.rows != part.record.images * views:
        words = f"{part.rows} rows, expected {part.record.images} images of {views} views"
        raise UsageError(f"{part.path}: {words}; move it elsewhere and run the study again")


def refuse_counts(folder: Path, info: StudyInfo, usable: Iterable[ShardFile]) -> None:
    counts, records = info.counts, [part.record for part in usable]
    measured, failed = sum(record.images for record in records), sum(len(record.failures) for record in records)
    if (measured, failed) != (counts.measured, counts.failed) or measured + failed != info.images_tried:
        listed = f"study.json lists {counts.measured} and {counts.failed} of {info.images_tried}"
        words = f"{measured} measured and {failed} failed images, but {listed}"
        raise UsageError(f"{folder}: its shards contain {words}; run the study again")


def study_checksum(parts: Iterable[ShardFile]) -> str:
    """Returns a checksum over those of all parts; it differs between runs, because parts store their times."""
    return hashlib.sha256("\n".join(part.checksum for part in parts).encode()).hexdigest()


def measured_checksum(parts: Iterable[ShardFile]) -> str:
    """Returns a checksum over the rows and sums of all parts; equal for two runs of one study."""
    return hashlib.sha256("\n".join(part.record.rows_checksum for part in parts).encode()).hexdigest()


def _has_recorded_rows(part: ShardFile) -> bool:
    try:
        with pq.ParquetFile(part.path.absolute()) as file:
            table, metadata = file.read(), file.metadata.metadata
        equal = rows_checksum(table, metadata.get(SUMS_KEY, b"")) == part.record.rows_checksum
        return equal and pl.read_parquet(part.path.absolute(), glob=False).equals(pl.DataFrame(table), null_equal=True)
    except Exception as error:
        raise Damaged(part.path, reason(error)) from error


@dataclass(frozen=True)
class FileState:
    name: str
    problem: str = ""
    checksum: str = ""


@dataclass(frozen=True)
class Verification:
    folder: Path
    findings: Sequence[FileState]
    checksum: str
    complete: bool = False

    @property
    def damaged(self) -> list[FileState]:
        return [finding for finding in self.findings if finding.problem]

    def to_dict(self) -> Json:
        return {
            "study": str(self.folder),
            "whole": self.complete and not self.damaged,
            "complete": self.complete,
            "checksum": self.checksum,
            "files": [asdict(finding) for finding in self.findings],
        }


def verify(folder: Path) -> Verification:
    listing = Listing(folder)
    try:
        info = listing.info
    except EmbedshiftError as error:
        return Verification(folder, [FileState(FILE, reason(error))], "")
    try:
        by_index = listing.read(info.shard_count)
    except EmbedshiftError as error:
        return Verification(folder, [FileState(FILE), FileState("shards", reason(error))], "")
    shards = [_shard(folder, index, by_index.get(index), info) for index in range(info.shard_count)]
    findings = [FileState(FILE), *(finding for finding in shards if finding is not None)]
    undamaged = [part for part in by_index.values() if isinstance(part, ShardFile)]
    if not any(finding.problem for finding in findings):
        findings[0] = FileState(FILE, _counts(folder, info, undamaged))
    if not any(finding.problem for finding in findings):
        findings += _other_files(folder, info)
    checksum = study_checksum(undamaged) if not any(finding.problem for finding in findings) else ""
    return Verification(folder, findings, checksum, info.complete)


def _shard(folder: Path, index: int, part: ShardFile | EmbedshiftError | None, info: StudyInfo) -> FileState | None:
    """Returns the result for a shard; None for one that an unfinished study does not have yet."""
    name = shard_name(shard_path(folder, index))
    if part is None:
        return FileState(name, "missing; run the study again to measure it") if info.complete else None
    try:
        if isinstance(part, EmbedshiftError):
            raise part
        refuse_foreign(part, info)
    except EmbedshiftError as error:
        return FileState(name, reason(error))
    return FileState(name, checksum=part.checksum)


def _counts(folder: Path, info: StudyInfo, undamaged: Sequence[ShardFile]) -> str:
    if not info.complete:
        return ""
    try:
        refuse_counts(folder, info, undamaged)
    except EmbedshiftError as error:
        return reason(error)
    rows = sum(part.rows for part in undamaged)
    return "" if rows == info.counts.rows else f"it lists {info.counts.rows} rows, but the shards contain {rows}"


def _other_files(folder: Path, info: StudyInfo) -> Iterator[FileState]:
    for name in sorted(name for name in info.files if not name.startswith("shards/")):
        if (folder / name).exists():
            problem = alteration(folder, name, info)
        elif is_figure_or_report(name) or not info.complete:
            continue
        else:
            problem = "missing"
        yield FileState(name, f"{problem}; make the report again") if problem else FileState(name, "", info.files[name])
