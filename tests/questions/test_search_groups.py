"""Search, pairs and thresholds between groups of images, against slow loops; FAISS against exact search."""

import itertools
import logging
import sys

import numpy as np
import pytest

from embedshift.questions.search import matching
from embedshift.questions.search.matching import all_pairs, resampled_thresholds, threshold, thresholds
from embedshift.questions.search.ranks import measured_recall, search_function
from embedshift.questions.text.tables import caption_ranks
from embedshift.statistics.retrieval import Gallery, search
from embedshift.statistics.sample import RESAMPLES, weights

IMAGES, DIM = 60, 6
UNITS = np.random.default_rng(3).integers(0, 15, IMAGES)


def vectors(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(15, DIM))[UNITS] + 0.7 * rng.normal(size=(IMAGES, DIM))


def cosines(a, b):
    return np.array([[x @ y / np.sqrt((x @ x) * (y @ y)) for y in b] for x in a.astype(float)])


def test_ranks_count_images_of_other_groups_alone():
    originals = vectors().astype(np.float32)
    queries = originals + 0.5 * np.random.default_rng(1).normal(size=originals.shape).astype(np.float32)
    found = search(queries, np.arange(IMAGES), Gallery.of(originals, UNITS), count=5)
    exact = cosines(queries, originals)
    for image in range(IMAGES):
        others = [other for other in range(IMAGES) if UNITS[other] != UNITS[image]]
        assert found.rank[image] == 1 + sum(exact[image, other] >= exact[image, image] for other in others)
        assert found.positions[image].tolist() == sorted(others, key=lambda other: -exact[image, other])[:5]
    plain = search(queries, np.arange(IMAGES), Gallery.of(originals), count=5)
    assert (found.rank <= plain.rank).all()
    assert (found.rank < plain.rank).any()


def test_an_approximate_search_leaves_out_the_same_images():
    pytest.importorskip("faiss")
    originals = vectors().astype(np.float32)
    gallery = Gallery.of(originals, UNITS)
    exact = search(originals, np.arange(IMAGES), gallery, count=5)
    found = search_function(gallery, views=1, least=1)(originals, np.arange(IMAGES), 5)
    assert np.array_equal(found.rank, exact.rank)
    assert np.array_equal(found.positions, exact.positions)


def slow_pairs():
    exact = cosines(vectors(), vectors())
    pairs = [(a, b) for a, b in itertools.combinations(range(IMAGES), 2) if UNITS[a] != UNITS[b]]
    return sorted((-exact[a, b], a, b) for a, b in pairs)


def test_pairs_and_thresholds_are_between_groups():
    pairs, wanted = all_pairs(vectors(), UNITS), slow_pairs()
    np.testing.assert_allclose(pairs.cosines, [-cosine for cosine, _, _ in wanted], atol=1e-6)
    assert {*zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)} == {(a, b) for _, a, b in wanted}
    rate = 0.02
    assert threshold(pairs, rate) == pytest.approx(-wanted[int(rate * len(wanted)) - 1][0], abs=1e-6)
    drawn = np.vstack([*weights(15, seed=4, resamples=RESAMPLES)])
    found = resampled_thresholds(pairs, rate, 4)
    for resample in range(20):
        times = drawn[resample][UNITS]
        # A pair of images that are in it c and d times counts c d times; pairs within a group are none.
        counts = [int(times[a] * times[b]) for _, a, b in wanted]
        fits = np.cumsum(counts) <= rate * sum(counts)
        reached = [-cosine for (cosine, _, _), count, fit in zip(wanted, counts, fits, strict=True) if fit and count]
        assert found[resample] == pytest.approx(reached[-1], abs=1e-6)
    row = thresholds(pairs, [rate], 4).row(0, named=True)
    assert row["ci_low"] < row["threshold"] < row["ci_high"]
    few = all_pairs(vectors(), UNITS % 7)
    assert thresholds(few, [rate], 4)["ci_low"].item() is None


def test_the_area_under_the_curve_compares_with_pairs_of_groups():
    values = np.random.default_rng(5).uniform(0.2, 1.0, (IMAGES, 1))
    pairs = all_pairs(vectors(), UNITS)
    between = [-cosine for cosine, _, _ in slow_pairs()]
    wanted = np.mean([np.mean([(value > cosine) for cosine in between]) for value in values[:, 0]])
    sample = matching.auc_values(values, pairs)
    assert sample.mean.item() == pytest.approx(wanted, abs=1e-4)
    # Of every image: the part of pairs below its view, and how far the views lie above its own pairs (Hájek).
    sums, counts = np.zeros(IMAGES), np.zeros(IMAGES)
    for cosine, a, b in slow_pairs():
        sums[[a, b]] += (values[:, 0] > -cosine).mean()
        counts[[a, b]] += 1
    below = np.array([np.mean([value > cosine for cosine in between]) for value in values[:, 0]])
    numbers = below + 2 * (sums - wanted * counts) / counts.mean()
    error = np.sqrt(sum(((numbers - wanted)[group == UNITS].sum()) ** 2 for group in set(UNITS)) / IMAGES**2)
    groups = len(np.unique(UNITS))
    assert sample.group_count == groups
    assert sample.error.item() == pytest.approx(error * np.sqrt(groups / (groups - 1)), rel=1e-3)


def test_captions_are_ranked_among_other_groups():
    captions, views = vectors(7), vectors(8)
    exact = cosines(captions, views)
    own = exact[np.arange(IMAGES), np.arange(IMAGES)][:, None]
    blocks = [views[start : start + 25, None].astype(np.float32) for start in range(0, IMAGES, 25)]
    found = caption_ranks(captions, np.arange(IMAGES), own, blocks, UNITS)[:, 0]
    for image in range(IMAGES):
        others = [other for other in range(IMAGES) if UNITS[other] != UNITS[image]]
        assert found[image] == 1 + sum(exact[image, other] >= own[image, 0] for other in others)


COUNT, QUERIES = 20_000, 600


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, 48))
    vectors = (centres[rng.integers(200, size=COUNT)] + 0.8 * rng.normal(size=(COUNT, 48)) + 0.7).astype(np.float32)
    vectors[100:120] = vectors[5_000:5_020]
    vectors[130] = 0
    own = np.arange(QUERIES)
    queries = vectors[own] + (np.linspace(0, 3, QUERIES)[:, None] * rng.normal(size=(QUERIES, 48))).astype(np.float32)
    queries[140] = 0
    return Gallery.of(vectors), queries, own


@pytest.mark.slow
def test_faiss_finds_what_an_exact_search_finds(world, caplog):
    gallery, queries, own = world
    with caplog.at_level(logging.INFO, "embedshift"):
        near = search_function(gallery, views=6_000, least=COUNT)
    found, exact = near(queries, own, 64), search(queries, own, gallery, count=64)
    assert f"FAISS index of {COUNT} images" in caplog.text
    assert "of the 10 nearest" in caplog.text
    for k in (1, 5, 10):
        hit, expected = ((each.rank > 0) & (each.rank <= k) for each in (found, exact))
        assert (hit != expected).mean() <= 0.005
    assert 0.05 < (exact.rank == 1).mean() < 0.95
    np.testing.assert_allclose(found.cosine, exact.cosine, rtol=0, atol=1e-12)
    assert (found.rank == 0).tolist() == (exact.rank == 0).tolist()
    # What lies below all that FAISS gives is counted exactly.
    deep = exact.rank > 100
    assert deep.sum() > 20
    assert (found.rank[deep] == exact.rank[deep]).mean() > 0.9
    both = (found.positions[:, :10, None] == exact.positions[:, None, :10]).any(axis=2).mean()
    assert both > 0.97


def test_its_recall_is_measured_against_exact_search(world):
    gallery, *_ = world
    assert measured_recall(gallery, lambda queries, own, count: search(queries, own, gallery, count=count)) == 1.0

    def wrong(queries, own, count):
        return search(np.roll(queries, 7, axis=0), own, gallery, count=count)

    assert measured_recall(gallery, wrong) < 0.5


@pytest.mark.slow
def test_below_the_limit_and_without_faiss_the_search_is_exact(world, monkeypatch, caplog):
    gallery, queries, own = world
    monkeypatch.setitem(sys.modules, "faiss", None)
    below = search_function(gallery, views=9, least=COUNT + 1)
    with caplog.at_level(logging.INFO, "embedshift"):
        without = search_function(gallery, views=6_000, least=COUNT)
    assert f"exact search for 6000 views among {COUNT} images takes about 1 min;" in caplog.text
    assert "the extra 'search'" in caplog.text
    wanted = search(queries, own, gallery, count=10).rank.tolist()
    assert below(queries, own, 10).rank.tolist() == without(queries, own, 10).rank.tolist() == wanted
