"""The table `duplicates`: pairs of originals that are nearer than different images are expected to be, in groups."""

import itertools

import numpy as np
import polars as pl
import pytest

import embedshift
from embedshift.errors import UsageError
from support.revised import revise_embeddings
from support.synthetic import make_study


def copies(first, count, views=2, by=0.0):
    """Gives some images almost the same original."""

    def change(vectors):
        noise = by * np.random.default_rng(0).normal(size=(count, vectors.shape[1]))
        vectors[first * views : (first + count) * views : views] = vectors[first * views] + noise
        return vectors

    return change


def spaces_of(study):
    """Originals by name as unit vectors, and whitened by a formula written again."""
    rows = study.rows().select("image_id", "view", "embedding").collect()
    vectors = np.array(rows["embedding"].to_list(), np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    is_original = (rows["view"] == "original").to_numpy()
    originals = vectors[is_original]
    shifts = vectors[~is_original] - originals
    second = shifts.T @ shifts / len(shifts)
    second += 0.1 * np.trace(second) / len(second) * np.eye(len(second))
    values, axes = np.linalg.eigh(second)
    whitened = (originals - originals.mean(axis=0)) @ (axes / np.sqrt(values) @ axes.T)
    whitened /= np.linalg.norm(whitened, axis=1, keepdims=True)
    return rows["image_id"].to_numpy()[is_original].tolist(), originals, whitened


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path / "study", 60, ("blur",), dim=6, with_tables=False)


@pytest.mark.slow
def test_a_set_without_duplicates_has_none(study):
    study.write_tables()
    assert len(study.duplicates()) <= 3
    assert study.duplicates(expected_false=1e-3).is_empty()


@pytest.mark.slow
@pytest.mark.parametrize("in_file", [False, True])
def test_cosines_and_groups_are_those_of_a_loop(study, in_file, monkeypatch):
    if in_file:
        monkeypatch.setattr("embedshift.questions.search.vectors.IN_MEMORY", 16)
        monkeypatch.setattr("embedshift.questions.search.tables.ROWS", 7)
    revise_embeddings(study, copies(10, 4, by=1e-3))
    revise_embeddings(study, copies(30, 3, by=1e-3))
    study.write_tables()
    names, originals, whitened = spaces_of(study)
    places = {name: place for place, name in enumerate(names)}
    table = study.duplicates(expected_false=1e-3)
    assert len(table) == 6 + 3
    for row in table.iter_rows(named=True):
        one, other = places[row["image_id"]], places[row["other"]]
        assert row["image_id"] < row["other"]
        assert row["cosine"] == pytest.approx(originals[one] @ originals[other], abs=1e-6)
        assert row["whitened"] == pytest.approx(whitened[one] @ whitened[other], abs=1e-4)
    members = [{*part["image_id"], *part["other"]} for part in table.partition_by("group", maintain_order=True)]
    ids = study.reader().ordered_ids()
    assert sorted(map(sorted, members)) == sorted([sorted(ids[10:14]), sorted(ids[30:33])])
    assert table["group"].unique(maintain_order=True).to_list() == [1, 2]
    assert table["whitened"].is_sorted(descending=True)
    assert table["expected_false"].is_sorted()
    assert table["expected_false"].max() <= 1e-3


@pytest.mark.slow
def test_a_threshold_is_one_of_cosines_and_stays_until_another_is_given(study):
    study.write_tables()
    names, originals, _ = spaces_of(study)
    cosines = [float(originals[i] @ originals[j]) for i, j in itertools.combinations(range(len(names)), 2)]
    least = sorted(cosines)[-40] - 1e-6
    table = study.duplicates(threshold=least)
    assert sorted(table["cosine"]) == pytest.approx(sorted(cosines)[-40:], abs=1e-6)
    study.write_tables()
    assert len(study.duplicates()) == 40
    assert len(study.duplicates(expected_false=1)) < 40
    with pytest.raises(UsageError, match="give one of them"):
        study.duplicates(threshold=0.5, expected_false=1)
    for wrong in ({"threshold": 2}, {"expected_false": 0}, {"expected_false": float("nan")}):
        with pytest.raises(UsageError, match="give a number between"):
            study.duplicates(**wrong)


@pytest.mark.slow
def test_exact_copies_are_pairs_each_with_each_and_nothing_false_is_expected(study):
    revise_embeddings(study, copies(10, 15))
    study.write_tables()
    equal = study.duplicates(expected_false=1e-3)
    assert len(equal) == 15 * 14 / 2
    assert equal["cosine"].min() > 1 - 1e-6
    assert equal["group"].unique().to_list() == [1]
    assert equal["expected_false"].max() < 1e-9


def test_of_few_images_only_equal_embeddings_are_pairs(tmp_path):
    few = make_study(tmp_path / "study", 12, ("blur",), dim=6, with_tables=False)
    revise_embeddings(few, copies(3, 2))
    few.write_tables()
    assert len(few.duplicates()) == 1
    assert few.duplicates()["expected_false"].to_list() == [None]


@pytest.mark.parametrize("classes", [40, 200])
def test_of_tight_classes_a_line_says_that_more_pairs_are_false_than_expected(classes, tmp_path, caplog):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(classes, 96))[np.arange(200) % classes]
    originals = centres + 0.2 * rng.normal(size=(200, 96))
    views = {"blur": originals + 0.2 * rng.normal(size=(200, 96))}
    study = embedshift.from_vectors(originals, views, out=tmp_path / "study")
    found, lines = study.duplicates(), [line for line in caplog.messages if "sets of three images or more" in line]
    if classes == 200:  # without classes
        assert len(found) <= 3
        assert not lines
    else:
        assert len(found) > 100
        assert lines[0].startswith(f"{len(found)} of {len(found)} pairs")


@pytest.mark.slow
def test_pairs_of_one_group_are_listed_but_not_in_the_tail(study):
    revise_embeddings(study, copies(0, 20, by=1e-3))
    study.write_tables()
    names = sorted(study.rows().collect()["image_id"].unique())
    ids = study.reader().ordered_ids()
    together = {name: "scene" if name in ids[:20] else name for name in names}
    grouped = study.duplicates(groups=together, expected_false=1e-3)
    assert {*grouped["image_id"], *grouped["other"]} == {*ids[:20]}
    assert len(grouped) == 20 * 19 / 2


@pytest.mark.matrix
def test_images_of_a_gallery_and_the_number_of_queries_change_nothing(study, tmp_path):
    revise_embeddings(study, copies(10, 4, by=1e-3))
    study.write_tables()
    before = study.duplicates()
    assert len(before) >= 6
    np.save(tmp_path / "own.npy", np.stack(study.rows().collect()["embedding"].to_list()))
    study.search(gallery=tmp_path / "own.npy", queries=9)
    assert study.duplicates().equals(before)


@pytest.mark.matrix
def test_an_image_without_a_direction_is_no_duplicate(study):
    def change(vectors):
        vectors[0:4:2] = 0.0
        return vectors

    revise_embeddings(study, change)
    study.write_tables()
    nowhere = study.reader().ordered_ids()[:2]
    assert study.duplicates(threshold=-1).filter(pl.col("image_id").is_in(nowhere)).is_empty()
    assert len(study.duplicates(threshold=-1)) == 58 * 57 / 2
