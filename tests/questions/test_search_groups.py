"""Search, pairs and thresholds between groups of images, against slow loops."""

import itertools

import numpy as np
import pytest

from embedshift.questions.search import matching
from embedshift.questions.search.matching import all_pairs, resampled_thresholds, threshold, thresholds
from embedshift.questions.search.ranks import search_function
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
