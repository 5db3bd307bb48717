"""Pairs of originals that are nearer than expected, in groups; and misses of a search that are near-copies."""

import itertools
import re
import sys

import numpy as np
import polars as pl
import pytest

import embedshift
from embedshift.errors import UsageError
from embedshift.questions.search import settings
from embedshift.questions.search import tables as near
from embedshift.questions.search.section import near_duplicates
from embedshift.statistics import duplicates, search_index
from embedshift.store import grouping
from support.inside import galleries_in_files
from support.revised import revise_embeddings
from support.search_tables import html_of
from support.synthetic import make_study

pytestmark = pytest.mark.slow


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


@pytest.mark.parametrize("in_file", [False, True])
def test_cosines_and_groups_are_those_of_a_loop(study, in_file, monkeypatch):
    if in_file:
        galleries_in_files(monkeypatch)
        monkeypatch.setattr("embedshift.store.alike.ROWS", 7)
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
    with pytest.raises(UsageError, match="give a number between"):
        study.duplicates(expected_false=float("nan"))


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


def test_pairs_of_one_group_are_listed_but_not_in_the_tail(study):
    revise_embeddings(study, copies(0, 20, by=1e-3))
    study.write_tables()
    names = sorted(study.rows().collect()["image_id"].unique())
    ids = study.reader().ordered_ids()
    together = {name: "scene" if name in ids[:20] else name for name in names}
    grouped = study.duplicates(groups=together, expected_false=1e-3)
    assert {*grouped["image_id"], *grouped["other"]} == {*ids[:20]}
    assert len(grouped) == 20 * 19 / 2


IMAGES, DIM = 60, 24


@pytest.fixture(scope="module")
def with_copies(tmp_path_factory):
    """Of 60 images five are near-copies: of images 0 to 3, and a second one of 3; image 9 is mistaken for another."""
    rng = np.random.default_rng(4)
    originals = rng.normal(size=(IMAGES, DIM))
    originals[50:55] = originals[[0, 1, 2, 3, 3]] + 0.02 * rng.normal(size=(5, DIM))
    mild, strong = (originals + size * rng.normal(size=(IMAGES, DIM)) for size in (0.1, 0.2))
    for image, copy in ((0, 50), (1, 51), (2, 52), (3, 53)):
        strong[image] = originals[copy] - 0.01 * (originals[image] - originals[copy])
    strong[9] = originals[11] + 0.05 * rng.normal(size=DIM)
    ids = [f"{number:02}.jpg" for number in range(IMAGES)]
    return embedshift.from_vectors(
        originals, {"mild": mild, "strong": strong}, ids=ids, out=tmp_path_factory.mktemp("s")
    )


def cosine(one, other):
    return one @ other / np.sqrt(one @ one * (other @ other))


def test_misses_are_those_of_a_slow_loop_and_of_a_search_with_near_groups(with_copies, tmp_path, cli):
    reader = with_copies.reader()
    rows = {(row["image_id"], row["view"]): np.array(row["embedding"]) for row in reader.rows().collect().to_dicts()}
    ids, sets = reader.ordered_ids(), grouping.near_copies(reader)
    labels = [sets.get(image, image) for image in ids]
    slow = {}
    for view in ("mild", "strong"):
        missed, copied, found = 0, 0, 0
        for place, image in enumerate(ids):
            query, own = rows[image, view], cosine(rows[image, view], rows[image, "original"])
            nearer = {o: cosine(query, rows[ids[o], "original"]) for o in range(IMAGES) if o != place}
            nearer = {o: value for o, value in nearer.items() if value >= own - 1e-12}
            missed += bool(nearer)
            copied += bool(nearer) and labels[max(nearer, key=nearer.__getitem__)] == labels[place]
            found += all(labels[o] == labels[place] for o in nearer)
        slow[view] = missed, copied, found / IMAGES
    assert {view: tuple(ends) for view, *ends in near.misses(reader).iter_rows()} == slow
    missed, copied = (sum(row[part] for row in slow.values()) for part in (0, 1))
    assert copied >= 4
    low, high = (f"{100 * value:.1f} %" for value in sorted(row[2] for row in slow.values()))
    words = f"In {copied} of {missed} misses a near-copy came first"
    words = f"{words}; without near-copies {low} (worst change) to {high} are found"
    command = f"embedshift search {with_copies.folder} --groups near"
    why = "leave near-copies out of the results"
    assert f"{words}.\nWhat now:\n  1. {why}: {command}\n" in cli("search", with_copies.folder).out
    grouped = embedshift.load(with_copies.folder)
    grouped.regroup("near")
    recall = dict(grouped.search().filter(metric="recall@1").select("augmentation", "value").iter_rows())
    assert recall == {view: pytest.approx(row[2]) for view, row in slow.items()}
    assert "near-cop" not in cli("search", with_copies.folder).out  # they are no results now
    grouped.regroup("none")


def test_the_report_and_the_search_count_the_same_images(with_copies, cli):
    page = html_of(with_copies.reader())
    pairs = with_copies.duplicates()
    images = len({*pairs["image_id"], *pairs["other"]})
    assert images > 9
    assert re.search(rf"groups? of {images} images", cli("search", with_copies.folder).out)
    assert near_duplicates(with_copies.reader()) == {"images": images, "of": IMAGES}
    assert "misses a near-copy came first" in " ".join(page.split())


def test_without_near_copies_nothing_is_said(tmp_path):
    rng = np.random.default_rng(0)
    originals = rng.normal(size=(40, DIM))
    views = {"far": originals + 2 * rng.normal(size=originals.shape)}
    study = embedshift.from_vectors(originals, views, out=tmp_path / "study")
    assert near.misses(study.reader())["missed"].item() > 0
    assert near.misses_in_words(study.reader()) == ""


def test_of_few_images_only_equal_embeddings_are_pairs(tmp_path):
    few = make_study(tmp_path / "study", 12, ("blur",), dim=6, with_tables=False)
    revise_embeddings(few, copies(3, 2))
    few.write_tables()
    assert len(few.duplicates()) == 1
    assert few.duplicates()["expected_false"].to_list() == [None]


def test_an_image_without_a_direction_is_no_duplicate(study):
    def change(vectors):
        vectors[0:4:2] = 0.0
        return vectors

    revise_embeddings(study, change)
    study.write_tables()
    nowhere = study.reader().ordered_ids()[:2]
    assert study.duplicates(threshold=-1).filter(pl.col("image_id").is_in(nowhere)).is_empty()
    assert len(study.duplicates(threshold=-1)) == 58 * 57 / 2


def test_in_a_large_study_the_listed_pairs_are_taken(with_copies, monkeypatch):
    monkeypatch.setattr(grouping, "LISTED_FROM", 10)
    label = grouping.near_copies(with_copies.reader())
    pairs = with_copies.duplicates()
    groups = {image: group for end in ("image_id", "other") for image, group in pairs.select(end, "group").iter_rows()}
    assert {*label} == {*groups}
    for one, other in itertools.combinations(label, 2):
        assert (label[one] == label[other]) == (groups[one] == groups[other])


@pytest.mark.matrix
def test_without_faiss_a_line_says_that_the_first_images_alone_were_compared(tmp_path, monkeypatch, caplog, cli):
    pytest.importorskip("faiss")
    for module in (search_index, near, settings, duplicates, grouping):
        monkeypatch.setattr(module, "LEAST_PAIRED", 41)
    rng = np.random.default_rng(5)
    originals = rng.normal(size=(60, DIM))
    originals[50:] = originals[:10] + 0.01 * rng.normal(size=(10, DIM))
    views = {"mild": originals + 0.1 * rng.normal(size=originals.shape)}
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "faiss", None)
        study = embedshift.from_vectors(originals, views, out=tmp_path / "study")
        assert "among the first 40 of 60 images alone; for all install FAISS, the extra 'search'" in caplog.text
        first, planted = {*study.reader().ordered_ids()[:40]}, {(str(image), str(image + 50)) for image in range(10)}
        pairs = {tuple(sorted(pair, key=int)) for pair in study.duplicates().select("image_id", "other").iter_rows()}
        assert planted & pairs == {pair for pair in planted if {*pair} <= first} != planted
        assert "in the whole set, among the first 40 images alone:" in cli("search", study.folder).out
        caplog.set_level("INFO", "embedshift")
        study.regroup("near")
        assert "`groups` near compares all pairs of 60 images, which takes long" in caplog.text
        assert study.info()["groups"]["count"] == 50
        study.regroup("none")
    found = study.duplicates(expected_false=1.0)  # which are made again
    assert planted <= {tuple(sorted(pair, key=int)) for pair in found.select("image_id", "other").iter_rows()}
    assert "as far as FAISS finds them" in cli("search", study.folder).out
    with monkeypatch.context() as patched:  # and stay
        patched.setitem(sys.modules, "faiss", None)
        assert embedshift.load(study.folder).duplicates(expected_false=1.0).equals(found)
