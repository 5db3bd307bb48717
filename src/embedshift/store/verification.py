"""Reads a study's folder completely and reports what is whole and what is damaged."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from embedshift.config import Json
from embedshift.config.files import open_file
from embedshift.errors import EmbedshiftError, reason
from embedshift.store.info import FILE, StudyInfo, read_info
from embedshift.store.labels import made_from, shards_hash, table_path
from embedshift.store.parts import Part, outcomes, overall, present, refuse_counts, refuse_foreign
from embedshift.store.reader import Reader
from embedshift.store.shards import shard_path


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

    @property
    def damaged(self) -> list[Finding]:
        """The findings with a problem."""
        return [each for each in self.findings if each.problem]

    def to_dict(self) -> Json:
        """Returns the fields as a dict, ready for JSON."""
        return {
            "study": str(self.folder),
            "whole": not self.damaged,
            "checksum": self.checksum,
            "files": [asdict(each) for each in self.findings],
        }


def verify(folder: Path) -> Verification:
    """Reads everything in a study's folder: every bit and every column of its shards, and its tables."""
    try:
        info = read_info(folder)
    except EmbedshiftError as error:
        return Verification(folder, [Finding(FILE, reason(error))], "")
    reader = Reader(folder)
    findings = [Finding(FILE)]
    found = list(_shards(folder, info, findings))
    if not any(each.problem for each in findings):
        findings[0] = Finding(FILE, _said_otherwise(folder, info, found))
    if not any(each.problem for each in findings):
        if info.complete:  # else a run that goes on makes it again
            findings.append(Finding("failures.parquet", _failures(reader, found)))
        findings += (Finding(f"tables/{name}.parquet", _table(reader, name)) for name in _tables(reader))
    checksum = overall(found) if not any(each.problem for each in findings) else ""
    return Verification(folder, findings, checksum)


def _shards(folder: Path, info: StudyInfo, findings: list[Finding]) -> Iterator[Part]:
    """Yields the undamaged shards; adds the findings about all to `findings`."""
    try:
        paths = present(folder, info.parts)
    except EmbedshiftError as error:
        findings.append(Finding("shards", reason(error)))
        return
    outcome = dict(zip(paths, outcomes(paths.values()), strict=True))
    for index in range(info.parts):
        name = f"shards/{shard_path(folder, index).name}"
        part = outcome.get(index)
        if isinstance(part, Part):
            problem = _decoded(part, info)
            findings.append(Finding(name, problem, "" if problem else part.digests.file))
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
        table = pq.read_table(part.path)
        table.validate(full=True)
    except Exception as error:
        return reason(error)
    images = len(table["image_id"].unique()) if table.num_rows else 0
    return "" if images == part.record.images else f"{images} different images, expected {part.record.images}"


def _said_otherwise(folder: Path, info: StudyInfo, found: Sequence[Part]) -> str:
    """Returns where the counts of study.json and of the shards differ."""
    if not info.complete:
        return ""
    try:
        refuse_counts(folder, info, found)
    except EmbedshiftError as error:
        return reason(error)
    rows = sum(part.rows for part in found)
    return "" if rows == info.counts.rows else f"it lists {info.counts.rows} rows, but the shards contain {rows}"


def _failures(reader: Reader, found: Sequence[Part]) -> str:
    """Returns where failures.parquet differs from the shards."""
    if not (reader.folder / "failures.parquet").is_file():
        return "missing; make the report again"
    try:
        listed = reader.failures().to_dicts()
    except EmbedshiftError as error:
        return reason(error)
    if listed != [asdict(failure) for part in found for failure in part.record.failures]:
        return "does not match the failures in the shards; delete it and make the report again"
    return ""


def _tables(reader: Reader) -> list[str]:
    """Returns the names of the tables that must exist, and of those that do."""
    there = [name for name in reader.table_names if table_path(reader.folder, name).exists()]
    return list(reader.table_names) if reader.info.complete else there


def _table(reader: Reader, name: str) -> str:
    """Returns what is wrong with a table; "" = nothing."""
    path = table_path(reader.folder, name)
    again = "make the report again"
    if not path.is_file():
        return f"missing; {again}"
    try:
        pl.read_parquet(path, glob=False)
        of = made_from(reader.folder, name)
        if (csv := path.with_suffix(".csv")).exists():
            with open_file(csv) as file:
                pl.read_csv(file, infer_schema=False)
    except (OSError, EmbedshiftError, pl.exceptions.PolarsError) as error:
        return f"cannot be read ({reason(error):.200}); {again}"
    return f"made from other shards; {again}" if of and of != shards_hash(reader.folder) else ""
