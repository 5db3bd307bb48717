"""The reader: what it draws by the seed, what it says of questions, and whether a report is up to date."""

import random
from types import SimpleNamespace

import polars as pl
import pytest

from embedshift.augmentations import load_suite
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.registry import METRICS
from embedshift.store.baselines import baselines, chunk_sizes
from embedshift.store.files import file_checksum
from embedshift.store.reader import Reader
from embedshift.store.shards import Failure
from embedshift.store.table import Table, record_files, table_path, tables_of
from embedshift.study import Study
from support.synthetic import make_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder, lost = tmp_path_factory.mktemp("reader") / "study", [Failure("lost.png", "decode", "no image")]
    return make_study(folder, 9, ["noise"], seed=5, text=True, with_tables=False, failures=lost)


def lean(study, kept):
    """The study as one without stored vectors, in which so many images kept their attention."""
    reader = Reader(study.folder)
    ids = sorted(reader.image_ids())[:kept]
    rows = reader.rows().with_columns(
        pl.when(pl.col("image_id").is_in(ids)).then(pl.col("attention")).alias("attention")
    )
    object.__setattr__(reader.info, "config", {**reader.info.config, "store": "metrics"})
    object.__setattr__(reader, "rows", lambda: rows)
    return reader, ids


def test_images_are_drawn_by_the_seed_of_the_study(study):
    ids = [f"image-{i:05d}.png" for i in range(9)]
    assert Reader(study.folder).sample_ids(4) == sorted(random.Random(5).sample(ids, 4))
    assert Reader(study.folder).sample_ids(4, with_attention=True) == Reader(study.folder).sample_ids(4)
    assert Reader(study.folder).sample_ids(20) == ids


def test_without_vectors_those_with_attention_are_drawn_where_there_are(study):
    reader, kept = lean(study, 3)
    assert reader.sample_ids(2, with_attention=True) == sorted(random.Random(5).sample(kept, 2))
    assert reader.sample_ids(9, with_attention=True) == kept
    assert len(reader.sample_ids(9)) == 9
    assert len(lean(study, 0)[0].sample_ids(9, with_attention=True)) == 9


def test_what_a_question_added_to_the_identity(study):
    reader = Reader(study.folder)
    assert reader.identity_of("text")["captions"]["count"] == 9
    assert reader.identity_of("embedding") == {}
    assert reader.identity_of("layers") == {}


def test_a_report_is_up_to_date_if_study_json_records_it(study):
    page = study.folder / "report.html"
    page.write_text("page")
    assert not Reader(study.folder).is_reported()
    record_files(study.folder, {"report.html": "0" * 64})
    assert not Reader(study.folder).is_reported()
    record_files(study.folder, {"report.html": file_checksum(page)})
    assert Reader(study.folder).is_reported()
    page.unlink()
    page.mkdir()
    assert not Reader(study.folder).is_reported()
    page.rmdir()


def test_failures_are_those_of_the_shards(study):
    path, truth = study.folder / "failures.parquet", Reader(study.folder).failures()
    assert truth.rows() == [("lost.png", "decode", "no image", False)]
    other = truth.with_columns(image_id=pl.lit("another.png"))
    for damage in (path.unlink, lambda: path.write_bytes(b"no table"), lambda: other.write_parquet(path)):
        damage()
        before = path.exists() and path.read_bytes()
        assert Reader(study.folder).failures().equals(truth)
        assert (path.exists() and path.read_bytes()) == before, "reading writes nothing"
    path.unlink()


def test_a_table_is_the_newer_one_and_none_where_the_study_has_it_not(study):
    newer = pl.DataFrame({"a": [1]})
    reader = Reader(study.folder)
    assert reader.table("summary") is None
    object.__setattr__(reader, "made", {"summary": newer})
    assert reader.table("summary") is newer
    (study.folder / "tables").mkdir()
    newer.write_parquet(study.folder / "tables" / "nobody.parquet")
    assert reader.table("nobody") is None


def test_a_table_that_cannot_be_read_is_named(study):
    """As one that another version of Parquet's library wrote."""
    path = table_path(study.folder, "summary")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"no table")
    record_files(study.folder, {"tables/summary.parquet": file_checksum(path)})
    with pytest.raises(EmbedshiftError, match=r"summary\.parquet: cannot be read .*parquet.*; delete it and make the"):
        Reader(study.folder).table("summary")
    path.unlink()


def test_a_metric_that_is_not_installed_here_has_no_baseline(study, monkeypatch):
    known = {name: baseline.value for name, baseline in baselines(Reader(study.folder)).items()}
    assert known.pop("l2_distance") > 0
    monkeypatch.delitem(METRICS._entries, "l2_distance")
    assert {name: baseline.value for name, baseline in baselines(Reader(study.folder)).items()} == known


def test_two_questions_with_one_table_are_refused():
    ours = SimpleNamespace(part=lambda _: SimpleNamespace(TABLES=(Table("shape", lambda _: pl.DataFrame()),)))
    assert [table.name for table in tables_of([ours])] == ["shape"]
    with pytest.raises(UsageError, match="two questions have a table 'shape'; remove one of them"):
        tables_of([ours, ours])


def test_exact_baselines_have_the_groups_that_they_are_of(study):
    known = baselines(Reader(study.folder))
    exact = {name: baseline for name, baseline in known.items() if baseline.pairs is not None}
    name = next(iter(exact))
    assert sum(chunk_sizes(known)) == 9
    assert chunk_sizes({name: exact[name]}) == chunk_sizes(known)
    assert chunk_sizes({other: baseline for other, baseline in known.items() if other not in exact}) is None


def test_places_in_a_family_are_read(tmp_path):
    suite = load_suite("strength", families=["blur"])
    folder = make_study(tmp_path / "study", 2, [suite[name] for name in suite.names], with_tables=False).folder
    assert [each.name for each in Study(folder).reader().families] == ["blur"]
