"""A table that is not the one its shards made is never used; nothing but a run and a report writes."""

import shutil

import polars as pl
import pytest

import embedshift
from embedshift.errors import UsageError
from embedshift.store.info import write_content
from embedshift.store.shards import shard_path
from embedshift.store.table import record_files, write_table
from support import studies

pytestmark = pytest.mark.slow
RULE = {"table": "summary", "metric": "cosine_similarity", "at_least": 0.99, "judge": "value"}
NAMED = "its content does not match its checksum; make the report again"


@pytest.fixture(scope="module")
def made():
    return studies.reported(
        studies.synthetic(20, ["noise", "blur"], shard_size=8), figures=["l2_density"], formats=["svg"]
    )


@pytest.fixture
def study(made, tmp_path):
    return studies.copied(made, tmp_path / "study")


def contents(study):
    return {path: path.read_bytes() for path in sorted(study.folder.rglob("*")) if path.is_file()}


@pytest.mark.matrix
def test_a_table_that_was_altered_is_refused_until_a_report_writes_it_again(study, made, cli):
    tables = study.folder / "tables"
    shutil.copy(tables / "ranking.parquet", tables / "summary.parquet")
    (tables / "ranking.csv").write_text("augmentation,rank\n")
    before = contents(study)
    for use in (study.summary, lambda: embedshift.check(study, [RULE])):
        with pytest.raises(UsageError, match=f"summary.parquet: {NAMED}"):
            use()
    done = cli("report", study.folder, "--card", made.folder.parent / "card.md")
    assert (done.code, done.out, f"summary.parquet: {NAMED}" in done.line) == (2, "", True)
    assert contents(study) == before
    assert {finding.name for finding in study.verify().damaged} == {"tables/summary.parquet", "tables/ranking.csv"}
    study.report(figures=["l2_density"], formats=["svg"])
    assert not study.verify().damaged
    for name in ("summary.parquet", "ranking.csv"):
        assert (tables / name).read_bytes() == (made.folder / "tables" / name).read_bytes()


def test_a_table_that_study_json_does_not_record_is_refused(study):
    files = {name: checksum for name, checksum in study.info()["files"].items() if name != "tables/summary.parquet"}
    write_content(study.folder, study.info() | {"files": files})
    with pytest.raises(UsageError, match=r"summary\.parquet: study\.json does not record it; make the report again"):
        study.summary()


def test_a_table_of_fewer_shards_is_refused(study):
    """As a report of a run that was killed leaves it, when the run has gone on and was killed again."""
    shard = shard_path(study.folder, 2)
    content, whole = study.info(), shard.read_bytes()
    shard.unlink()
    files = {name: checksum for name, checksum in content["files"].items() if not name.endswith("part-00002.parquet")}
    write_content(study.folder, content | {"complete": False, "files": files})
    study.report(figures=[], formats=["svg"])
    assert study.summary().height
    shard.write_bytes(whole)
    with pytest.raises(UsageError, match=r"summary\.parquet: made from other shards; make the report again"):
        study.summary()


def test_a_search_with_the_settings_of_the_stored_one_writes_nothing(study):
    """As somebody asks who may only read the study."""
    study.table("search", queries="10")
    before = contents(study)
    assert study.table("search", queries="10").height
    assert contents(study) == before
    path = study.folder / "tables" / "gallery_sizes.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    study.table("search", queries="10")
    assert contents(study) == before, "written again where one is not as it was"


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"mean": 1.3}, "noise, cosine_similarity: mean 1.3 is beyond -1 and 1"),
        ({"ci_low": 0.9998, "ci_high": 0.9321}, "the interval of mean begins at 0.9998 and ends at 0.9321"),
        ({"value": 1.5}, "value 1.5 is beyond 0 and 1"),
    ],
)
def test_check_refuses_what_cannot_be(cells, words, study):
    """Even in a table whose checksum study.json gives."""
    name = "search" if "value" in cells else "summary"
    table = study.table(name).with_columns(pl.lit(value).alias(column) for column, value in cells.items())
    checksum = write_table(study.folder / "tables" / f"{name}.parquet", table)
    record_files(study.folder, {f"tables/{name}.parquet": checksum})
    rule = RULE | ({"table": "search", "metric": "recall@1"} if name == "search" else {})
    with pytest.raises(UsageError, match=f"{words}, which cannot be"):
        embedshift.check(study, [rule])
