"""The search is made once: its tables are kept until the shards change, whatever a report does."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from embedshift.errors import UsageError
from embedshift.questions.search import tables
from embedshift.questions.search.settings import settings
from embedshift.store.tables import update_tables
from support.revised import revise_embeddings, without_vectors
from support.synthetic import make_study

pytestmark = pytest.mark.slow


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path / "study", 24, ("noise", "blur"), dim=6, shard_size=12)


@pytest.fixture
def searches(monkeypatch):
    """How often a search was made."""
    made = []

    def counted(*given):
        made.append(given)
        return real(*given)

    real = tables.search_views
    monkeypatch.setattr(tables, "search_views", counted)
    return made


def test_tables_are_kept_until_a_shard_or_the_choice_changes(study, searches):
    before, old = study.search_ranks(), study.reader().measured_checksum()
    study.write_tables()
    study.search(false_match_rate=[0.1, 0.05])
    assert searches == []
    study.write_tables()
    assert study.thresholds()["false_match_rate"].to_list() == [0.1, 0.05]
    assert study.search_ranks().equals(before)
    revise_embeddings(study, lambda vectors: np.roll(vectors, 3, axis=0), shard=1)
    assert study.reader().measured_checksum() != old
    study.write_tables()
    assert len(searches) == 1
    assert not study.search_ranks().equals(before)
    study.search(queries=10)
    study.write_tables()
    assert len(searches) == 2, "all tables are of one search, and a report keeps what was chosen"
    assert settings(study.reader()).queries == 10
    assert study.reader().kept_settings("search_ranks") == {"version": "2", "queries": "10", "gallery": ""}
    order = study.reader().ordered_ids()[:10]
    assert study.search_ranks()["image_id"].unique(maintain_order=True).to_list() == list(order)
    assert study.search().filter(metric="recall@1")["n"].to_list() == [10, 10]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"queries": "many"}, "`queries`: give a number"),
        ({"queries": 0}, "`queries`: give a number"),
        ({"false_match_rate": ["0.1", "x"]}, "`false_match_rate`: could not convert"),
        ({"false_match_rate": [1.5]}, "`false_match_rate`: 1.5 is not a rate"),
        ({"gallery": "nowhere"}, "`gallery`: nowhere: No such file"),
    ],
)
def test_a_choice_that_makes_no_sense_is_one_line(study, choice, words):
    with pytest.raises(UsageError, match=words):
        study.search(**choice)


def test_without_vectors_one_line_says_what_the_search_takes(tmp_path):
    study = make_study(tmp_path / "study", 12, ("blur",), dim=6, with_tables=False)
    without_vectors(study)
    assert not {name for name in study.table_names if "search" in name}
    for ask in (study.search, lambda: study.search(queries="all"), study.duplicates):
        with pytest.raises(UsageError, match="it needs stored embeddings: run it with `store` all"):
            ask()


def test_files_without_pictures_hold_hashes_and_the_study_still_names_its_images(study, searches):
    before = study.search_ranks(), study.duplicates(), study.table("search_neighbours")
    reader = replace(study.reader(), pictures=False)
    update_tables(reader)
    assert searches == [], "other names are no other search"
    for name, table in zip(("search_ranks", "duplicates", "search_neighbours"), before, strict=True):
        stored = pl.read_parquet(study.folder / "tables" / f"{name}.parquet")
        assert stored["image_id"].str.contains("^image-[0-9a-f]{8}$").all()
        assert stored["other"].str.contains("^image-[0-9a-f]{8}$").all()
        assert study.table(name).equals(table)
    assert not any(
        name in (study.folder / "tables" / "duplicates.csv").read_text() for name in study.reader().image_ids()
    )
    study.write_tables()
    assert pl.read_parquet(study.folder / "tables" / "search_ranks.parquet").equals(before[0])


def test_names_of_a_gallery_are_hidden_too(study, tmp_path):
    other = make_study(tmp_path / "other", ["jane.png", "joe.png"], ("noise", "blur"), dim=6, seed=3)
    study.search(gallery=other.folder)
    update_tables(replace(study.reader(), pictures=False))
    stored = pl.read_parquet(study.folder / "tables" / "search_neighbours.parquet")["other"]
    assert stored.str.starts_with("gallery:image-").any()
    assert not stored.str.contains("jane|joe").any()


def test_a_table_that_is_lost_takes_the_gallery_with_it(study, tmp_path, caplog):
    """What a search among a gallery found is never beside what one without found."""
    np.save(tmp_path / "more.npy", np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32))
    study.search(gallery=tmp_path / "more.npy")
    (study.folder / "tables" / "search_neighbours.parquet").unlink()
    study.write_tables()
    assert caplog.text.count("without the previous gallery") == 1
    assert study.table("gallery_sizes").filter(kind="measured")["images"].max() == 24
    assert not study.table("search_neighbours")["other"].str.starts_with("gallery:").any()
    assert study.reader().kept_settings("gallery_sizes")["gallery"] == ""
