"""A table that is not the one its shards made is never used; nothing but a run and a report writes."""

import shutil

import polars as pl
import pyarrow.parquet as pq
import pytest

from embedshift.errors import UsageError
from embedshift.store.info import write_content
from embedshift.store.shards import shard_path
from embedshift.store.table import record_files, write_table
from embedshift.study import Study
from embedshift.study.gate import check
from support import command
from support.matrix import first_only
from support.synthetic import make_study

pytestmark = pytest.mark.slow
NAMES = ["noise", "blur"]
RULE = {"table": "summary", "metric": "cosine_similarity", "at_least": 0.99, "judge": "value"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    study = make_study(tmp_path_factory.mktemp("made") / "study", 20, NAMES, shard_size=8)
    study.report(figures=["l2_density"], formats=["svg"])
    return study


@pytest.fixture
def study(made, tmp_path):
    return Study(shutil.copytree(made.folder, tmp_path / "study"))


def alter(study, name="summary", **cells):
    """Sets cells of a table in every row, with all else of its Parquet file as it was."""
    path = study.folder / "tables" / f"{name}.parquet"
    table = pl.read_parquet(path).with_columns(pl.lit(value).alias(column) for column, value in cells.items())
    arrow = table.to_arrow().cast(pq.read_schema(path))
    pq.write_table(arrow, path, compression="zstd")


def contents(study):
    return {path: path.read_bytes() for path in sorted(study.folder.rglob("*")) if path.is_file()}


NAMED = "its content does not match its checksum; make the report again"


@pytest.mark.parametrize("name", first_only(["summary", "clusters", "search_ranks", "shifts"]))
def test_a_table_that_was_altered_is_refused_with_a_line_that_names_the_report(name, study, made):
    path = study.folder / "tables" / f"{name}.parquet"
    shutil.copy(study.folder / "tables" / ("ranking.parquet" if name == "summary" else "summary.parquet"), path)
    before = contents(study)
    with pytest.raises(UsageError, match=f"{name}.parquet: {NAMED}"):
        study.table(name)
    assert contents(study) == before
    study.report(figures=[], formats=["svg"])
    assert study.table(name).equals(made.table(name))


def test_check_and_card_give_no_number_of_an_altered_table(study, monkeypatch, capsys):
    alter(study, mean=0.9999, ci_low=0.9998, ci_high=0.9321)
    with pytest.raises(UsageError, match=f"summary.parquet: {NAMED}"):
        check(study, [RULE])
    done = command.call(monkeypatch, capsys, "card", study.folder)
    assert (done.code, done.out) == (2, "")
    assert f"summary.parquet: {NAMED}" in done.line


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


def test_a_report_that_was_altered_is_not_called_up_to_date(study):
    assert study.is_reported()
    for path in (study.folder / "report.html", next((study.folder / "figures").iterdir())):
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b"0", b"1", 1))
        assert not study.is_reported()
        path.write_bytes(whole)
        assert study.is_reported()


def test_a_report_writes_the_tables_again(study, made):
    alter(study, mean=0.9999)
    (study.folder / "tables" / "ranking.csv").write_text("augmentation,rank\n")
    assert {finding.name for finding in study.verify().damaged} == {"tables/summary.parquet", "tables/ranking.csv"}
    study.report(figures=["l2_density"], formats=["svg"])
    assert not study.verify().damaged
    for name in ("summary.parquet", "ranking.csv"):
        assert (study.folder / "tables" / name).read_bytes() == (made.folder / "tables" / name).read_bytes()


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"mean": 1.3}, "mean 1.3 is beyond -1 and 1"),
        ({"ci_low": 0.9998, "ci_high": 0.9321}, "the interval of mean begins at 0.9998 and ends at 0.9321"),
    ],
)
def test_check_refuses_what_cannot_be(cells, words, study):
    """Even in a table whose checksum study.json gives."""
    table = study.summary().with_columns(pl.lit(value).alias(column) for column, value in cells.items())
    checksum = write_table(study.folder / "tables" / "summary.parquet", table)
    record_files(study.folder, {"tables/summary.parquet": checksum})
    with pytest.raises(UsageError, match=f"noise, cosine_similarity: {words}, which cannot be"):
        check(study, [RULE])


def test_check_refuses_a_probability_beyond_0_and_1(study):
    table = study.table("search").with_columns(value=pl.lit(1.5))
    record_files(
        study.folder,
        {"tables/search.parquet": write_table(study.folder / "tables" / "search.parquet", table)},
    )
    rule = {"table": "search", "metric": "recall@1", "at_least": 0.9, "judge": "value"}
    with pytest.raises(UsageError, match=r"value 1\.5 is beyond 0 and 1"):
        check(study, [rule])
