"""Reads a study's folder completely and reports what is whole and what is damaged."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from embedshift.config import Json
from embedshift.errors import EmbedshiftError, reason
from embedshift.store.contents import content_problems
from embedshift.store.info import FILE, StudyInfo, read_info
from embedshift.store.parts import (
    Part,
    existing_shards,
    measured_checksum,
    read_parts,
    refuse_counts,
    refuse_foreign,
    shard_name,
    study_checksum,
)
from embedshift.store.reader import Reader
from embedshift.store.shards import FAILURES, shard_path
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
    """Reads everything in a study's folder: every bit and every column of its shards, and the files made from them."""
    try:
        info = read_info(folder)
    except EmbedshiftError as error:
        return Verification(folder, [Finding(FILE, reason(error))], "")
    findings = [Finding(FILE)]
    undamaged = list(_shards(folder, info, findings))
    if not any(finding.problem for finding in findings):
        findings[0] = Finding(FILE, _counts(folder, info, undamaged))
    if not any(finding.problem for finding in findings):
        if info.complete:  # else a run that goes on makes it again
            findings.append(Finding(FAILURES, _failures(folder / FAILURES, info, undamaged)))
        findings += _other_files(folder, info, measured_checksum(part.record for part in undamaged))
    checksum = study_checksum(undamaged) if not any(finding.problem for finding in findings) else ""
    return Verification(folder, findings, checksum, info.complete)


def _shards(folder: Path, info: StudyInfo, findings: list[Finding]) -> Iterator[Part]:
    """Yields the undamaged shards; adds the findings about all to `findings`."""
    try:
        paths = existing_shards(folder, info.shard_count)
    except EmbedshiftError as error:
        findings.append(Finding("shards", reason(error)))
        return
    by_index = dict(zip(paths, read_parts(paths.values(), info), strict=True))
    problems = {part.path: _decoded(part, info) for part in by_index.values() if isinstance(part, Part)}
    whole = [part for part in by_index.values() if isinstance(part, Part) and not problems[part.path]]
    wrong = content_problems(whole, info, Reader(folder).lists, vectors=True)
    problems |= {part.path: problem for part, problem in wrong}
    for index in range(info.shard_count):
        name, part = shard_name(shard_path(folder, index)), by_index.get(index)
        if isinstance(part, Part):
            problem = problems[part.path]
            findings.append(Finding(name, problem, "" if problem else part.checksum))
            if not problem:
                yield part
        elif part is not None:
            findings.append(Finding(name, reason(part)))
        elif info.complete:
            findings.append(Finding(name, "missing; run the study again to measure it"))


def _decoded(part: Part, info: StudyInfo) -> str:
    """Returns what is wrong with a shard whose bytes are unchanged; "" = nothing."""
    try:
        refuse_foreign(part, info)
        pq.read_table(part.path.absolute()).validate(full=True)
    except Exception as error:
        return reason(error)
    return ""


def _counts(folder: Path, info: StudyInfo, undamaged: Sequence[Part]) -> str:
    if not info.complete:
        return ""
    try:
        refuse_counts(folder, info, undamaged)
    except EmbedshiftError as error:
        return reason(error)
    rows = sum(part.rows for part in undamaged)
    return "" if rows == info.counts.rows else f"it lists {info.counts.rows} rows, but the shards contain {rows}"


def _failures(path: Path, info: StudyInfo, undamaged: Sequence[Part]) -> str:
    if not path.is_file():
        return "missing; make the report again"
    try:
        listed = pl.read_parquet(path.absolute(), glob=False).to_dicts()
    except (OSError, pl.exceptions.PolarsError) as error:
        return f"{path}: cannot be read ({reason(error):.200}); delete it and make the report again"
    if listed != [asdict(failure) for part in undamaged for failure in part.record.failures]:
        return "does not match the failures in the shards; delete it and make the report again"
    if FAILURES in info.files and (problem := alteration(path.parent, FAILURES, info, str)):
        return f"{problem}; make the report again"
    return ""


def _other_files(folder: Path, info: StudyInfo, shards: str) -> Iterator[Finding]:
    tables = {f"tables/{name}.parquet" for name in Reader(folder).table_names} if info.complete else set()
    files = {name for name in info.files if name != FAILURES and not name.startswith("shards/")}
    for name in sorted(tables | files):
        path = folder / name
        if path.exists():
            problem = alteration(folder, name, info, lambda: shards)
        else:
            problem = "missing" if info.complete and not is_figure_or_report(name) else ""
        if problem or path.exists():
            advice = f"{problem}; make the report again"
            yield Finding(name, advice if problem else "", "" if problem else info.files[name])
