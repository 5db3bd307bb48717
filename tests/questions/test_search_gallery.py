"""Views are searched for among the originals of a study and the vectors of a gallery beside them."""

import os

import numpy as np
import polars as pl
import pytest

import embedshift
from embedshift.errors import UsageError
from embedshift.store.info import write_content
from embedshift.study.whitening import WhitenedStudy
from support import revised
from support.matrix import first_only
from support.search_tables import html_of
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


def test_images_that_the_study_has_are_no_distractors(study, tmp_path):
    twin = make_study(tmp_path / "twin", 20, NAMES, dim=6)
    alone = study.search_ranks()["rank"].to_list()
    study.search(gallery=twin.folder)
    assert study.search_ranks()["rank"].to_list() == alone


def saved(folder, name, vectors):
    np.save(folder / f"{name}.npy", vectors)
    return folder / f"{name}.npy"


def parquet(folder, ids, vectors):
    pl.DataFrame({"image_id": ids, "vector": vectors.tolist()}).write_parquet(folder / "gallery.parquet")
    return folder / "gallery.parquet"


# All hold images of the study but the last, whose other images have the same numbers for names.
GALLERIES = {
    "the study itself": lambda folder, ids, own, more: folder / "study",
    "their ids": lambda folder, ids, own, more: parquet(folder, ids + ["x"] * 8, np.concatenate([own * 1.01, more])),
    "their vectors": lambda folder, ids, own, more: saved(folder, "gallery", np.concatenate([own, more])),
    "others of their numbers": lambda folder, ids, own, more: (
        embedshift.from_vectors(more, {"noise": more + 0.1}, out=folder / "others", model="one encoder").folder
    ),
}


@pytest.mark.parametrize("whitened", [False, True])
@pytest.mark.parametrize("numbered", [False, True])
@pytest.mark.parametrize("gallery", GALLERIES)
def test_images_of_a_study_of_vectors_are_no_distractors(gallery, numbered, whitened, tmp_path):
    rng = np.random.default_rng(0)
    own, more = rng.normal(size=(20, 6)), rng.normal(size=(8, 6))
    ids = [str(number) if numbered else f"{number}.jpg" for number in range(20)]
    names = {} if numbered else {"ids": ids}
    views = {"noise": own + 0.6 * rng.normal(size=own.shape)}
    study = embedshift.from_vectors(own, views, out=tmp_path / "study", model="one encoder", **names)
    others = np.zeros((0, 6)) if gallery == "the study itself" else more
    if whitened:
        embedshift.whiten(study, out=tmp_path / "map.npz", map="shifts")
        study = WhitenedStudy(study.folder, tmp_path / "map.npz")
        others = study.whitening_map(others)
    study.search(gallery=GALLERIES[gallery](tmp_path, ids, own, more))
    assert study.search_ranks()["rank"].to_list() == slow_ranks(study, others)


@pytest.mark.matrix
def test_no_gallery_again(study, other):
    alone = study.search_ranks()["rank"].to_list()
    study.search(gallery=other.folder)
    study.write_tables()  # a report keeps it
    assert study.search_ranks()["rank"].to_list() != alone
    study.search(gallery="")
    assert study.search_ranks()["rank"].to_list() == alone


def test_a_search_that_cannot_keep_its_gallery_says_so(study, other, caplog):
    study.search(gallery=other.folder)
    study.search(queries=10)
    assert "without the previous gallery" in caplog.text
    assert not study.search_ranks()["other"].str.starts_with("gallery:").any()


def test_no_table_holds_a_path(study, other):
    study.search(gallery=other.folder)
    for file in (study.folder / "tables").iterdir():
        assert str(other.folder.parent).encode() not in file.read_bytes(), file.name


def wrong_width(folder):
    np.save(folder / "wide.npy", np.ones((4, 9), np.float32))
    return folder / "wide.npy"


def pickled(folder):
    np.save(folder / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    return folder / "objects.npy"


def no_lists(folder):
    pl.DataFrame({"name": ["x"]}).write_parquet(folder / "names.parquet")
    return folder / "names.parquet"


def text(folder):
    (folder / "words.txt").write_text("no vectors here")
    return folder / "words.txt"


def another_encoder(folder):
    other = make_study(folder / "third", 8, NAMES, dim=6)
    content = other.info()
    for part in ("identity", "encoder"):
        content[part]["weights_hash"] = "f" * 64
    revised.say_identity(other.folder, content)
    return other.folder


def without_vectors(folder):
    return revised.without_vectors(make_study(folder / "fourth", 8, NAMES, dim=6)).folder


def unfinished(folder):
    other = make_study(folder / "fifth", 8, NAMES, dim=6)
    write_content(other.folder, other.info() | {"complete": False})
    return other.folder


def another_embedding(folder):
    other = make_study(folder / "sixth", 8, NAMES, dim=6)
    content = other.info()
    content["encoder"]["embedding"] = "mean of the tokens"
    write_content(other.folder, content)
    return other.folder


def a_shard(folder):
    return make_study(folder / "seventh", 8, NAMES, dim=6).folder / "shards" / "part-00000.parquet"


def a_folder(folder):
    (folder / "empty").mkdir()
    return folder / "empty"


def array(values):
    def make(folder):
        np.save(folder / "array.npy", values)
        return folder / "array.npy"

    return make


def ragged(folder):
    pl.DataFrame({"embedding": [[1.0] * 6, [1.0] * 5]}).write_parquet(folder / "ragged.parquet")
    return folder / "ragged.parquet"


@pytest.mark.parametrize(
    ("make", "words"),
    first_only(
        [
            (wrong_width, "its vectors have 9 numbers, those of this encoder 6"),
            (pickled, "cannot be read .*; give a Parquet file, an npy file"),
            (no_lists, "has no column 'vector'; give vector"),
            (text, "cannot be read .*; give a Parquet file, an npy file"),
            (another_encoder, "of another encoder"),
            (without_vectors, "stores no embeddings"),
            (unfinished, "not finished"),
            (another_embedding, "of another encoder"),
            (a_shard, "holds views too; name the folder of a study"),
            (a_folder, "no study in this folder"),
            (array(np.ones(6, np.float32)), "give numbers .images, length of a vector."),
            (array(np.ones((3, 2, 6))), "give numbers .images, length of a vector."),
            (array(np.array([["a"] * 6])), "give numbers .images, length of a vector."),
            (array(np.ones((3, 6), bool)), "give numbers .images, length of a vector."),
            (array(np.ones((0, 5))), "holds no rows"),
            (ragged, "row 1 has 5 numbers, but row 0 has 6"),
        ]
    ),
)
def test_what_is_no_gallery_is_one_line(study, tmp_path, make, words):
    with pytest.raises(UsageError, match=f"`gallery`: .*{words}") as caught:
        study.search(gallery=make(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["more.npy", "more.parquet"])
def test_a_fifo_is_refused_and_not_waited_for(name, study, tmp_path):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UsageError, match="a FIFO, not a file"):
        study.search(gallery=tmp_path / name)


@pytest.mark.parametrize("odd", first_only([np.nan, np.inf, -np.inf, 1e300, None]))
def test_a_row_that_is_no_vector_is_named(study, tmp_path, odd):
    vectors = np.ones((40, 6))
    vectors[7] = 0 if odd is None else [1, 1, odd, 1, 1, 1]
    np.save(tmp_path / "odd.npy", vectors)
    with pytest.raises(UsageError, match=r"odd\.npy: row 7 is no vector: not finite, or all 0$"):
        study.search(gallery=tmp_path / "odd.npy")


def test_many_vectors_lie_in_a_file_while_they_are_searched(study, monkeypatch):
    before = study.search_ranks()
    monkeypatch.setattr("embedshift.questions.search.vectors.IN_MEMORY", 16)
    study.search(queries=19)
    study.search(queries=2000)
    assert study.search_ranks().equals(before)
    assert {path.name for path in study.folder.iterdir()} == {"failures.parquet", "shards", "study.json", "tables"}


def test_the_gallery_of_the_search_is_named(tmp_path):
    made = make_study(tmp_path / "study", 9, ["noise"])
    content = made.info()
    content["tables"]["search_ranks"]["settings"] = {"gallery": "catalogue.npy|abc"}
    write_content(made.folder, content)
    sentence = "A search among the 9 images and those of the gallery catalogue.npy ranks"
    assert sentence in " ".join(html_of(made.reader()).split())
