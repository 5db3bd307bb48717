"""Views are searched for among originals and the vectors of a gallery; the tables of a search are kept."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import embedshift
from embedshift.errors import UsageError
from embedshift.questions.search import tables
from embedshift.questions.search.settings import settings
from embedshift.store.tables import update_tables
from support import revised
from support.inside import IndexedStudy, galleries_in_files
from support.matrix import first_only
from support.synthetic import make_study

pytestmark = pytest.mark.slow

NAMES = ("noise", "blur")


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path / "study", 20, NAMES, dim=6)


@pytest.fixture
def other(tmp_path):
    return make_study(tmp_path / "other", [f"other-{k:02d}.png" for k in range(30)], NAMES, dim=6, seed=5)


def originals(study):
    rows = study.rows().filter(pl.col("view") == "original").select("image_id", "embedding").collect()
    return rows["image_id"].to_list(), rows["embedding"].to_numpy()


def slow_ranks(study, vectors):
    """Ranks among the study's originals and some more vectors, in a loop."""
    ids, own = originals(study)
    among = np.concatenate([own, vectors]).astype(np.float64)
    found = []
    for row in study.rows().filter(pl.col("view") != "original").select("image_id", "embedding").collect().iter_rows():
        view, right = np.array(row[1], np.float64), ids.index(row[0])
        cosines = [view @ each / np.linalg.norm(view) / np.linalg.norm(each) for each in among]
        found.append(1 + sum(c >= cosines[right] for place, c in enumerate(cosines) if place != right))
    return found


def test_another_study_s_originals_are_distractors(study, other):
    alone = study.search_ranks()["rank"].to_list()
    study.search(gallery=other.folder)
    ranks = study.search_ranks()
    assert ranks["rank"].to_list() == slow_ranks(study, originals(other)[1])
    assert sum(ranks["rank"]) > sum(alone)
    assert ranks["other"].str.starts_with("gallery:other-").any()
    assert study.table("gallery_sizes").filter(kind="measured")["images"].max() == 50


def test_files_of_vectors_are_distractors(study, other, tmp_path):
    vectors = originals(other)[1]
    np.save(tmp_path / "more.npy", vectors)
    pl.DataFrame({"name": ["x"] * 30, "embedding": vectors.tolist()}).write_parquet(tmp_path / "more.parquet")
    expected = slow_ranks(study, vectors)
    for name in ("more.npy", "more.parquet"):
        study.search(gallery=tmp_path / name)
        assert study.search_ranks()["rank"].to_list() == expected
    assert study.search_ranks()["other"].str.starts_with("gallery:").any()


def array(values):
    def make(folder):
        np.save(folder / "array.npy", values)
        return folder / "array.npy"

    return make


def parquet(folder, ids, vectors):
    pl.DataFrame({"image_id": ids, "vector": vectors.tolist()}).write_parquet(folder / "gallery.parquet")
    return folder / "gallery.parquet"


# All hold images of the study but the last, whose other images have the same numbers for names.
GALLERIES = {
    "the study itself": lambda folder, ids, own, more: folder / "study",
    "their ids": lambda folder, ids, own, more: parquet(folder, ids + ["x"] * 8, np.concatenate([own * 1.01, more])),
    "their vectors": lambda folder, ids, own, more: array(np.concatenate([own, more]))(folder),
    "their vectors at other lengths": lambda folder, ids, own, more: array(
        np.concatenate([own[:7] / np.linalg.norm(own[:7], axis=1, keepdims=True), 2 * own[7:14], 3 * own[14:], more])
    )(folder),
    "their vectors in float16": lambda folder, ids, own, more: array(np.concatenate([own.astype(np.float16), more]))(
        folder
    ),
    "others of their numbers": lambda folder, ids, own, more: (
        embedshift.from_vectors(more, {"noise": more + 0.1}, out=folder / "others", model="one encoder").folder
    ),
}


# Whether the images of the study have numbers for names, and whether it is seen through a map.
@pytest.mark.parametrize(
    ("gallery", "numbered", "whitened"),
    [
        ("the study itself", True, False),
        ("their ids", False, False),
        ("their vectors", False, True),
        ("their vectors at other lengths", False, False),
        ("their vectors in float16", False, False),
        ("others of their numbers", True, False),
    ],
)
def test_images_of_a_study_of_vectors_are_no_distractors(gallery, numbered, whitened, tmp_path):
    rng = np.random.default_rng(0)
    own, more = rng.normal(size=(20, 6)), rng.normal(size=(8, 6))
    ids = [str(number) if numbered else f"{number}.jpg" for number in range(20)]
    names = {} if numbered else {"ids": ids}
    views = {"noise": own + 0.6 * rng.normal(size=own.shape)}
    study = embedshift.from_vectors(own, views, out=tmp_path / "study", model="one encoder", **names)
    others = np.zeros((0, 6)) if gallery == "the study itself" else more
    if whitened:
        embedshift.fit_index(study, "whiten", out=tmp_path / "map.npz")
        study = IndexedStudy(study.folder, tmp_path / "map.npz")
        others = study.search_index.mapped(others)
    study.search(gallery=GALLERIES[gallery](tmp_path, ids, own, more))
    assert study.search_ranks()["rank"].to_list() == slow_ranks(study, others)


def test_a_search_that_cannot_keep_its_gallery_says_so(study, other, caplog):
    alone = study.search_ranks()
    study.search(gallery=other.folder)
    study.write_tables()  # a report keeps it
    assert not study.search_ranks().equals(alone)
    for file in (study.folder / "tables").iterdir():
        assert str(other.folder.parent).encode() not in file.read_bytes(), file.name
    study.search(queries=10)
    assert "without the previous gallery" in caplog.text
    assert not study.search_ranks()["other"].str.starts_with("gallery:").any()
    study.search(gallery="", queries=2000)
    assert study.search_ranks().equals(alone)


def revised_study(change):
    """Another study whose record says something else."""

    def make(folder):
        other = make_study(folder / "third", 8, NAMES, dim=6)
        revised.say_identity(other.folder, change(other.info()))
        return other.folder

    return make


def another_encoder(content):
    for part in ("identity", "encoder"):
        content[part]["weights_hash"] = "f" * 64
    return content


def no_lists(folder):
    pl.DataFrame({"name": ["x"]}).write_parquet(folder / "names.parquet")
    return folder / "names.parquet"


ODD_ROW = np.ones((40, 6))
ODD_ROW[7, 2] = np.nan
NO_GALLERIES = {
    "of another width": (array(np.ones((4, 9), np.float32)), "its vectors have 9 numbers, those of this encoder 6"),
    "without vectors": (no_lists, "has no column 'vector'; its columns are 'name': rename one"),
    "of another encoder": (revised_study(another_encoder), "of another encoder"),
    "unfinished": (revised_study(lambda content: content | {"complete": False}), "not finished"),
    "without embeddings": (
        lambda folder: revised.without_vectors(make_study(folder / "third", 8, NAMES, dim=6)).folder,
        "stores no embeddings",
    ),
    "a shard": (
        lambda folder: folder / "study" / "shards" / "part-00000.parquet",
        "holds views too; name the folder of a study",
    ),
    "a folder": (lambda folder: folder / "study" / "shards", "no study in this folder"),
    "no rows": (array(np.ones((0, 5))), "holds no rows"),
    "a row that is no vector": (array(ODD_ROW), "row 7 has a number that is NaN or infinite; leave its image out$"),
}


@pytest.mark.parametrize("case", first_only(NO_GALLERIES))
def test_what_is_no_gallery_is_one_line(study, tmp_path, case):
    make, words = NO_GALLERIES[case]
    with pytest.raises(UsageError, match=f"`gallery`: .*{words}") as caught:
        study.search(gallery=make(tmp_path))
    assert "\n" not in str(caught.value)
    for rates, words in ((["0.1", "x"], "could not convert"), ([1.5], "1.5 is not a rate")):
        with pytest.raises(UsageError, match=f"`false_match_rate`: {words}"):
            study.search(false_match_rate=rates)


def test_many_vectors_lie_in_a_file_while_they_are_searched(study, monkeypatch):
    before = study.search_ranks()
    galleries_in_files(monkeypatch)
    study.search(queries=19)
    study.search(queries=2000)
    assert study.search_ranks().equals(before)
    assert {path.name for path in study.folder.iterdir()} == {"failures.parquet", "shards", "study.json", "tables"}


def test_images_that_the_study_has_are_no_distractors(study, tmp_path):
    twin = make_study(tmp_path / "twin", 20, NAMES, dim=6)
    alone = study.search_ranks()["rank"].to_list()
    study.search(gallery=twin.folder)
    assert study.search_ranks()["rank"].to_list() == alone


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


def test_tables_are_kept_until_a_shard_or_the_choice_changes(searches, tmp_path):
    study = make_study(tmp_path / "study", 24, NAMES, dim=6, shard_size=12)
    searches.clear()
    before, old = study.search_ranks(), study.reader().measured_checksum()
    study.write_tables()
    study.search(false_match_rate=[0.1, 0.05])
    assert searches == []
    study.write_tables()
    assert study.thresholds()["false_match_rate"].to_list() == [0.1, 0.05]
    assert study.search_ranks().equals(before)
    revised.revise_embeddings(study, lambda vectors: np.roll(vectors, 3, axis=0), shard=1)
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


def test_files_without_pictures_hold_hashes_and_the_study_still_names_its_images(study, other, searches):
    names = ("search_ranks", "duplicates", "search_neighbours")
    before = [study.table(name) for name in names]
    update_tables(replace(study.reader(), pictures=False))
    assert searches == [], "other names are no other search"
    for name, table in zip(names, before, strict=True):
        stored = pl.read_parquet(study.folder / "tables" / f"{name}.parquet")
        assert stored["image_id"].str.contains("^image-[0-9a-f]{8}$").all()
        assert stored["other"].str.contains("^image-[0-9a-f]{8}$").all()
        assert study.table(name).equals(table)
    pairs = (study.folder / "tables" / "duplicates.csv").read_text()
    assert not any(name in pairs for name in study.reader().image_ids())
    study.write_tables()
    assert pl.read_parquet(study.folder / "tables" / "search_ranks.parquet").equals(before[0])
    study.search(gallery=other.folder)
    update_tables(replace(study.reader(), pictures=False))
    stored = pl.read_parquet(study.folder / "tables" / "search_neighbours.parquet")["other"]
    assert stored.str.contains("^(gallery:)?image-[0-9a-f]{8}$").all()
    assert stored.str.starts_with("gallery:").any()


def test_a_table_that_is_lost_takes_the_gallery_with_it(study, tmp_path, caplog):
    """What a search among a gallery found is never beside what one without found."""
    np.save(tmp_path / "more.npy", np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32))
    study.search(gallery=tmp_path / "more.npy")
    (study.folder / "tables" / "search_neighbours.parquet").unlink()
    study.write_tables()
    assert caplog.text.count("without the previous gallery") == 1
    assert study.table("gallery_sizes").filter(kind="measured")["images"].max() == 20
    assert not study.table("search_neighbours")["other"].str.starts_with("gallery:").any()
    assert study.reader().kept_settings("gallery_sizes")["gallery"] == ""
