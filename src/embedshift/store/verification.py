"""Reads a study's folder completely and reports what is whole and what is damaged."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from embedshift.config import Json
from embedshift.errors import EmbedshiftError, reason
from embedshift.store.info import FILE, StudyInfo, read_info
from embedshift.store.parts import (
    Part,
    existing_shards,
    read_parts,
    refuse_counts,
    refuse_foreign,
    shard_name,
    study_checksum,
)
from embedshift.store.shards import shard_path
from embedshift.store.table_files import alteration, is_figure_or_report


@dataclass(frozen=True)
class Finding:
    """The result for one file in the folder."""

    name: str
    problem: str = ""
    checksum: str = ""


@dataclass(frozen=True)
class Verification:
    """The results for a study's folder."""

    folder: Path
    findings: Sequence[Finding]
    checksum: str
    complete: bool = False

    @property
    def damaged(self) -> list[Finding]:
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
    """Reads every bit of the files that a study's folder consists of."""
    try:
        info = read_info(folder)
    except EmbedshiftError as error:
        return Verification(folder, [Finding(FILE, reason(error))], "")
    try:
        paths = existing_shards(folder, info.shard_count)
    except EmbedshiftError as error:
        return Verification(folder, [Finding(FILE), Finding("shards", reason(error))], "")
    by_index = dict(zip(paths, read_parts(paths.values(), info), strict=True))
    shards = [_shard(folder, index, by_index.get(index), info) for index in range(info.shard_count)]
    findings = [Finding(FILE), *(finding for finding in shards if finding is not None)]
    undamaged = [part for part in by_index.values() if isinstance(part, Part)]
    if not any(finding.problem for finding in findings):
        findings[0] = Finding(FILE, _counts(folder, info, undamaged))
    if not any(finding.problem for finding in findings):
        findings += _other_files(folder, info)
    checksum = study_checksum(undamaged) if not any(finding.problem for finding in findings) else ""
    return Verification(folder, findings, checksum, info.complete)


def _shard(folder: Path, index: int, part: Part | EmbedshiftError | None, info: StudyInfo) -> Finding | None:
    """Returns the result for a shard; None for one that an unfinished study does not have yet."""
    name = shard_name(shard_path(folder, index))
    if part is None:
        return Finding(name, "missing; run the study again to measure it") if info.complete else None
    if isinstance(part, EmbedshiftError):
        return Finding(name, reason(part))
    try:
        refuse_foreign(part, info)
    except EmbedshiftError as error:
        return Finding(name, reason(error))
    return Finding(name, checksum=part.checksum)


def _counts(folder: Path, info: StudyInfo, undamaged: Sequence[Part]) -> str:
    if not info.complete:
        return ""
    try:
        refuse_counts(folder, info, undamaged)
    except EmbedshiftError as error:
        return reason(error)
    rows = sum(part.rows for part in undamaged)
    return "" if rows == info.counts.rows else f"it lists {info.counts.rows} rows, but the shards contain {rows}"


def _other_files(folder: Path, info: StudyInfo) -> Iterator[Finding]:
    for name in sorted(name for name in info.files if not name.startswith("shards/")):
        if (folder / name).exists():
            problem = alteration(folder, name, info)
        elif is_figure_or_report(name) or not info.complete:
            continue
        else:
            problem = "missing"
        yield Finding(name, f"{problem}; make the report again") if problem else Finding(name, "", info.files[name])
