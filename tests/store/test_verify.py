"""`embedshift verify`: what is whole and what is damaged, one line each."""

import hashlib
import json
import os
import shutil

import pytest

from embedshift.errors import EmbedshiftError
from embedshift.store.files import file_checksum
from embedshift.store.info import write_content
from embedshift.store.listing import verify
from embedshift.store.shards import Failure, shard_path, write_failures
from embedshift.study import Study
from support import command
from support.revised import revise_shard
from support.synthetic import make_study

NAMES = ["noise", "blur"]
LOST = (Failure("lost.jpg", "decode", "broken"), Failure("gone.jpg", "read", "No such file", transient=True))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("made") / "study", 10, NAMES, shard_size=4, failures=LOST)


@pytest.fixture
def study(made, tmp_path):
    return Study(shutil.copytree(made.folder, tmp_path / "study"))


def problems(study):
    return {each.name: each.problem for each in study.verify().damaged}


@pytest.mark.slow
def test_a_whole_study(study, monkeypatch, capsys):
    found = study.verify()
    files = {str(path.relative_to(study.folder)) for path in study.folder.rglob("*")}
    assert {each.name for each in found.findings} == files - {"shards", "tables", "pictures"}
    assert not found.damaged
    sums = [file_checksum(shard_path(study.folder, index)) for index in range(3)]
    assert found.checksum == hashlib.sha256("\n".join(sums).encode()).hexdigest()
    assert [each.checksum for each in found.findings if each.name.startswith("shards/")] == sums
    done = command.call(monkeypatch, capsys, "verify", study.folder)
    assert done.code == 0
    assert f"All {len(found.findings)} files are intact. Checksum of the shards: {found.checksum}" in done.out
    assert sums[1][:12] in done.out
    done = command.call(monkeypatch, capsys, "verify", study.folder, "--json")
    said = json.loads(done.out)
    assert (done.code, said["whole"], said["checksum"]) == (0, True, found.checksum)
    assert {each["name"] for each in said["files"]} == {each.name for each in found.findings}


@pytest.mark.slow
def test_the_report_names_the_checksums(study):
    page = study.report(figures=[]).read_text(encoding="utf-8")
    assert f"<dd>{study.verify().checksum}</dd>" in page
    for index in range(3):
        assert f"<code>{file_checksum(shard_path(study.folder, index))[:12]}</code>" in page


def test_damage_is_named_and_the_exit_code_is_1(study, monkeypatch, capsys):
    path = shard_path(study.folder, 1)
    path.write_bytes(path.read_bytes()[:-1])
    shard_path(study.folder, 2).unlink()
    assert set(problems(study)) == {"shards/part-00001.parquet", "shards/part-00002.parquet"}
    done = command.call(monkeypatch, capsys, "verify", study.folder)
    assert done.code == 1
    assert "--repair" in done.out
    assert "2 of 4 files are damaged." in done.out
    assert "missing; run the study again" in " ".join(done.out.split())
    done = command.call(monkeypatch, capsys, "verify", study.folder, "--json")
    said = json.loads(done.out)
    assert (done.code, said["whole"], said["checksum"]) == (1, False, "")


def test_a_copy_among_the_shards(study):
    shutil.copy(shard_path(study.folder, 1), study.folder / "shards" / "part-00001 (copy).parquet")
    assert "part-00001 (copy).parquet: not part of this study" in problems(study)["shards"]


def test_no_study(tmp_path, study):
    assert "no study here" in problems(Study(tmp_path / "nothing"))["study.json"]
    (study.folder / "study.json").write_text("{")
    assert "no study here" in problems(study)["study.json"]
    with open(study.folder / "study.json", "wb") as file:
        file.truncate(2**30 + 1)  # a hole, which would fill the memory
    assert "larger than 1 GB" in problems(study)["study.json"]


def test_a_folder_that_is_not_there_is_not_damaged(tmp_path, cli):
    done = cli("verify", tmp_path / "nothing")
    assert (done.code, "no such folder" in done.line) == (2, True)


def test_rows_that_do_not_agree_with_the_record(study):
    revise_shard(study.folder, 1, lambda rows: rows.slice(0, 9))
    (problem,) = problems(study).values()
    assert "part-00001.parquet: 9 rows, expected 4 images of 3 views" in problem
    with pytest.raises(EmbedshiftError, match="9 rows, expected 4 images"):
        study.rows()


def test_a_shard_of_another_study(study):
    revise_shard(study.folder, 1, lambda rows: rows, config_hash="f" * 64)
    assert "a shard of another study" in problems(study)["shards/part-00001.parquet"]


def test_counts_that_do_not_agree(study):
    info = study.info()
    for counts, words in (({"measured": 9, "failed": 3}, "its shards contain 10"), ({"rows": 31}, "it lists 31 rows")):
        write_content(study.folder, info | {"counts": info["counts"] | counts})
        assert words in problems(study)["study.json"]


def test_tables_and_failures_that_are_gone_or_changed(study):
    write_failures(study.folder, [])
    tables = study.folder / "tables"
    (tables / "summary.parquet").unlink()
    (tables / "ranking.parquet").write_bytes((tables / "ranking.parquet").read_bytes()[:-20])
    (tables / "differences.csv").write_bytes((tables / "differences.csv").read_bytes().replace(b"1", b"2", 1))
    changed = "its content does not match its checksum; make the report again"
    assert problems(study) == {
        "tables/summary.parquet": "missing; make the report again",
        "tables/ranking.parquet": changed,
        "tables/differences.csv": changed,
        "failures.parquet": changed,
    }


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
    assert [each.name for each in found.findings][:3] == [
        "study.json", "shards/part-00000.parquet", "shards/part-00001.parquet",
    ]  # fmt: skip
    done = cli("verify", study.folder, "--quiet")
    assert done.code == 1
    words = "files that are there are intact, but the study is not finished: run the same command again"
    assert f"The {len(found.findings)} {words}." in done.out
    printed = json.loads(cli("verify", study.folder, "--json").out)
    assert (printed["whole"], printed["complete"]) == (False, False)


@pytest.mark.matrix
def test_many_whole_files_are_counted(tmp_path, monkeypatch, capsys):
    study = make_study(tmp_path / "study", 40, NAMES, shard_size=1)
    done = command.call(monkeypatch, capsys, "verify", study.folder)
    count = len(verify(study.folder).findings)
    assert f"… and {count - 20} more" in done.out


def test_what_is_no_file_is_a_finding_and_no_wait(study):
    path = next((study.folder / "tables").glob("*.csv"))
    path.unlink()
    os.mkfifo(path)
    assert problems(study) == {f"tables/{path.name}": "cannot be read (a FIFO, not a file); make the report again"}


def test_a_check_changes_nothing(study):
    (study.folder / "failures.parquet").unlink()
    before = sorted(study.folder.rglob("*"))
    assert problems(study) == {"failures.parquet": "missing; make the report again"}
    assert sorted(study.folder.rglob("*")) == before
