"""`embedshift verify`: what is whole and what is damaged, one line each; damaged shards are those of test_parts.py."""

import hashlib
import json
import os
import shutil

import pytest

from embedshift.store.files import file_checksum
from embedshift.store.info import write_content
from embedshift.store.listing import verify
from embedshift.store.shards import Failure, shard_path, write_failures
from embedshift.study import Study
from support import studies

LOST = (Failure("lost.jpg", "decode", "broken"), Failure("gone.jpg", "read", "No such file", transient=True))


@pytest.fixture
def study(tmp_path):
    return studies.copied(studies.synthetic(10, ["noise", "blur"], shard_size=4, failures=LOST), tmp_path / "study")


def problems(study):
    return {each.name: each.problem for each in study.verify().damaged}


@pytest.mark.slow
def test_a_whole_study(study, cli):
    page = study.report(figures=[]).read_text(encoding="utf-8")
    found = study.verify()
    files = {str(path.relative_to(study.folder)) for path in study.folder.rglob("*") if path.is_file()}
    assert {each.name for each in found.findings} == files
    assert not found.damaged
    sums = [file_checksum(shard_path(study.folder, index)) for index in range(3)]
    assert found.checksum == hashlib.sha256("\n".join(sums).encode()).hexdigest()
    assert [each.checksum for each in found.findings if each.name.startswith("shards/")] == sums
    assert f"<dd>{found.checksum}</dd>" in page
    assert all(f"<code>{each[:12]}</code>" in page for each in sums)
    done = cli("verify", study.folder)
    assert done.code == 0
    assert f"All {len(found.findings)} files are intact. Checksum of the shards: {found.checksum}" in done.out
    assert sums[1][:12] in done.out
    said = json.loads(cli("verify", study.folder, "--json").out)
    assert (said["whole"], said["checksum"]) == (True, found.checksum)
    assert {each["name"] for each in said["files"]} == {each.name for each in found.findings}


def test_damage_is_named_and_the_exit_code_is_1(study, cli):
    path = shard_path(study.folder, 1)
    path.write_bytes(path.read_bytes()[:-1])
    shard_path(study.folder, 2).unlink()
    assert set(problems(study)) == {"shards/part-00001.parquet", "shards/part-00002.parquet"}
    done = cli("verify", study.folder)
    assert done.code == 1
    assert "--repair" in done.out
    assert "2 of 4 files are damaged." in done.out
    assert "missing; run the study again" in " ".join(done.out.split())
    done = cli("verify", study.folder, "--json")
    said = json.loads(done.out)
    assert (done.code, said["whole"], said["checksum"]) == (1, False, "")


def test_no_study(tmp_path, study, cli):
    done = cli("verify", tmp_path / "nothing")
    assert (done.code, "no such folder" in done.line) == (2, True)
    assert "no study here" in problems(Study(tmp_path / "nothing"))["study.json"]
    (study.folder / "study.json").write_text("{")
    assert "no study here" in problems(study)["study.json"]
    with open(study.folder / "study.json", "wb") as file:
        file.truncate(2**30 + 1)  # a hole, which would fill the memory
    assert "larger than 1 GB" in problems(study)["study.json"]


def test_rows_that_study_json_counts_otherwise(study):
    info = study.info()
    write_content(study.folder, info | {"counts": info["counts"] | {"rows": 31}})
    assert "it lists 31 rows" in problems(study)["study.json"]


def test_tables_and_failures_that_are_gone_or_changed(study):
    write_failures(study.folder, [])
    tables = study.folder / "tables"
    (tables / "summary.parquet").unlink()
    (tables / "ranking.parquet").write_bytes((tables / "ranking.parquet").read_bytes()[:-20])
    (tables / "differences.csv").write_bytes((tables / "differences.csv").read_bytes().replace(b"1", b"2", 1))
    (tables / "ranking.csv").unlink()
    os.mkfifo(tables / "ranking.csv")
    before, changed = sorted(study.folder.rglob("*")), "its content does not match its checksum; make the report again"
    assert problems(study) == {
        "tables/summary.parquet": "missing; make the report again",
        "tables/ranking.parquet": changed,
        "tables/differences.csv": changed,
        "tables/ranking.csv": "cannot be read (a FIFO, not a file); make the report again",
        "failures.parquet": changed,
    }
    (study.folder / "failures.parquet").unlink()
    assert problems(study)["failures.parquet"] == "missing; make the report again"
    assert sorted([*study.folder.rglob("*"), study.folder / "failures.parquet"]) == before, "a check changes nothing"


@pytest.mark.slow
def test_figures_and_the_report_are_checked_too_and_may_be_deleted(study):
    study.report(figures=["l2_density"], formats=["svg"])
    (figure,) = (study.folder / "figures").iterdir()
    page = study.folder / "report.html"
    assert {f"figures/{figure.name}", "report.html"} <= {finding.name for finding in study.verify().findings}
    for path in (figure, page):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert set(problems(study)) == {f"figures/{figure.name}", "report.html"}
    assert not study.is_reported()
    figure.unlink()
    page.unlink()
    assert problems(study) == {}


def test_an_unfinished_study_is_whole_as_far_as_it_is(study, cli):
    shutil.rmtree(study.folder / "tables")
    shard_path(study.folder, 2).unlink()
    (study.folder / "failures.parquet").unlink()
    write_content(study.folder, study.info() | {"complete": False})
    found = verify(study.folder)
    assert not found.damaged
    names = ["study.json", "shards/part-00000.parquet", "shards/part-00001.parquet"]
    assert [each.name for each in found.findings][:3] == names
    done = cli("verify", study.folder, "--quiet")
    assert done.code == 1
    words = "files that are there are intact, but the study is not finished: run the same command again"
    assert f"The {len(found.findings)} {words}." in done.out
    printed = json.loads(cli("verify", study.folder, "--json").out)
    assert (printed["whole"], printed["complete"]) == (False, False)


@pytest.mark.matrix
def test_many_whole_files_are_counted(cli):
    study = studies.synthetic(40, ["noise", "blur"], shard_size=1)
    assert f"… and {len(verify(study.folder).findings) - 20} more" in cli("verify", study.folder).out
