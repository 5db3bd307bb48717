"""Misses that are near-copies of the original, against a slow loop and against a search with their groups."""

import itertools

import numpy as np
import pytest

import embedshift
from embedshift.questions.search import tables as near
from embedshift.questions.search.section import near_duplicates
from support.search_tables import html_of

IMAGES, DIM = 60, 24


@pytest.fixture(scope="module")
def study(tmp_path_factory):
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


def test_misses_are_those_of_a_slow_loop_and_of_a_search_with_near_groups(study, tmp_path, cli):
    reader = study.reader()
    rows = {(row["image_id"], row["view"]): np.array(row["embedding"]) for row in reader.rows().collect().to_dicts()}
    ids, labels = reader.ordered_ids(), [*near.near_copies(reader).values()]
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
    words = f"{copied} of {missed} misses are near-copies of the original; without them {low} to {high}"
    command = f"To count so: embedshift search {study.folder} --groups near"
    assert f"{words}. {command}" in cli("search", study.folder).out
    grouped = embedshift.load(study.folder)
    grouped.regroup("near")
    recall = dict(grouped.search().filter(metric="recall@1").select("augmentation", "value").iter_rows())
    assert recall == {view: pytest.approx(row[2]) for view, row in slow.items()}
    assert "near-copies" not in cli("search", study.folder).out  # they are no results now
    grouped.regroup("none")


def test_the_report_and_the_search_count_the_same_images(study, cli):
    page = html_of(study.reader())
    pairs = study.duplicates()
    images = len({*pairs["image_id"], *pairs["other"]})
    assert images > 9
    assert f"group{'s' if pairs['group'].n_unique() > 1 else ''} of {images} images" in cli("search", study.folder).out
    assert near_duplicates(study.reader()) == {"images": images, "of": IMAGES}
    assert "misses are near-copies of the original" in " ".join(page.split())


def test_in_a_large_study_the_listed_pairs_are_taken(study, monkeypatch):
    monkeypatch.setattr(near, "LISTED_FROM", 10)
    label = near.near_copies(study.reader())
    pairs = study.duplicates()
    groups = {image: group for end in ("image_id", "other") for image, group in pairs.select(end, "group").iter_rows()}
    for one, other in itertools.combinations(label, 2):
        assert (label[one] == label[other]) == (one in groups and groups[one] == groups.get(other))


def test_without_near_copies_nothing_is_said(tmp_path):
    rng = np.random.default_rng(0)
    originals = rng.normal(size=(40, DIM))
    views = {"far": originals + 2 * rng.normal(size=originals.shape)}
    study = embedshift.from_vectors(originals, views, out=tmp_path / "study")
    assert near.misses(study.reader())["missed"].item() > 0
    assert near.misses_in_words(study.reader()) == ""
