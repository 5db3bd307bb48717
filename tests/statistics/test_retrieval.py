"""Exact search against a slow loop in float64, with ties, copies, and vectors without a direction."""

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score

from embedshift.arrays import release_memory
from embedshift.statistics import retrieval
from embedshift.statistics.retrieval import Gallery, count_closer, search
from support.matrix import first_only


def made(rng, count=1000, dim=24):
    """Vectors around a few centres, with exact copies, longer copies, and one of length zero."""
    centres = rng.normal(size=(20, dim))
    vectors = (centres[rng.integers(20, size=count)] + 0.5 * rng.normal(size=(count, dim)) + 1.0).astype(np.float32)
    vectors[100:150] = vectors[500:550]
    vectors[200:220] = 3 * vectors[600:620]
    vectors[700:705] = vectors[699]
    vectors[900] = 0
    queries = vectors + (rng.uniform(0, 1.5, (count, 1)) * rng.normal(size=(count, dim))).astype(np.float32)
    queries[:300] = vectors[:300]
    queries[950] = 0
    return vectors, queries.astype(np.float32)


def cosine(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.sqrt((a * a).sum()) * np.sqrt((b * b).sum())
    return float((a * b).sum() / lengths) if lengths else float("nan")


def slow(vectors, queries, own, count):
    """Ranks and the nearest others, one pair at a time."""
    ranks, nearest = [], []
    for query, right in zip(queries, own, strict=True):
        cosines = np.array([cosine(query, vector) for vector in vectors])
        others = [place for place in range(len(vectors)) if place != right and not np.isnan(cosines[place])]
        known = not np.isnan(cosines[right])
        ranks.append(1 + sum(cosines[place] >= cosines[right] - 1e-6 for place in others) if known else 0)
        nearest.append(sorted(others, key=lambda place: (-round(cosines[place], 12), place))[:count])
    return ranks, nearest


@pytest.fixture(scope="module")
def world():
    vectors, queries = made(np.random.default_rng(0))
    chosen = np.r_[0:20, 100:120, 200:215, 400:420, 690:710, 895:905, 945:955]
    return vectors, queries[chosen], chosen, slow(vectors, queries[chosen], chosen, 10)


@pytest.mark.slow
@pytest.mark.parametrize("block", first_only([97, 8192]))
def test_ranks_and_neighbours_are_those_of_a_slow_loop(world, monkeypatch, block):
    monkeypatch.setattr(retrieval, "BLOCK", block)
    vectors, queries, own, (ranks, nearest) = world
    found = search(queries, own, Gallery.of(vectors), count=10)
    assert found.rank.tolist() == ranks
    assert 0 in ranks
    assert max(ranks) > 50
    assert ranks.count(2) >= 20
    for place, expected in enumerate(nearest):
        got = found.positions[place].tolist()
        assert got == (expected if expected else [-1] * 10)


def test_cosines_are_those_of_the_loop(world):
    vectors, queries, own, _ = world
    found = search(queries, own, Gallery.of(vectors), count=3)
    expected = [cosine(query, vectors[right]) for query, right in zip(queries, own, strict=True)]
    np.testing.assert_allclose(found.cosine, expected, atol=1e-14)
    at = found.positions[3, 1]
    assert found.others[3, 1] == pytest.approx(cosine(queries[3], vectors[at]), abs=1e-14)


def test_those_that_reach_a_limit_are_counted_without_the_right_one(monkeypatch):
    monkeypatch.setattr(retrieval, "BLOCK", 16)
    vectors, queries = (part[680:740] for part in made(np.random.default_rng(4)))
    queries = queries[10:30].astype(np.float64)
    cosines = np.array([[cosine(query, vector) for vector in vectors] for query in queries])
    limits, right = cosines[np.arange(20), np.arange(20)[::-1]], np.arange(0, 60, 3)
    units = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    reach = cosines >= limits[:, None] - 1e-6
    reach[np.arange(20), right] = False
    assert count_closer(units, limits, Gallery.of(vectors), right).tolist() == reach.sum(axis=1).tolist()
    assert len(set(reach.sum(axis=1))) > 5


def test_mean_reciprocal_rank_is_that_of_scikit_learn():
    vectors, queries = made(np.random.default_rng(1), count=1000)
    keep = np.setdiff1d(np.arange(1000), [900, 950])
    vectors, queries = vectors[keep], queries[keep]
    found = search(queries, np.arange(len(keep)), Gallery.of(vectors), count=0)
    exact = [each.astype(np.float64) for each in (vectors, queries)]
    units, of_queries = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in exact)
    # Rounded, since scikit-learn takes equal bits for a tie.
    scores = np.round(of_queries @ units.T, 6)
    expected = label_ranking_average_precision_score(np.eye(len(keep)), scores)
    assert (1 / found.rank).mean() == pytest.approx(expected, abs=1e-5)  # where rounding is no tolerance


def test_cosines_that_float32_cannot_tell_apart_are_told_apart():
    rng = np.random.default_rng(2)
    base = rng.normal(size=64).astype(np.float32)
    away = rng.normal(size=64)
    away -= (away @ base) / (base @ base) * base
    # Each a little further from the query than the last, by less than float32's products can show.
    tangents = np.sqrt(2 * 3e-6 * np.arange(12)) * np.linalg.norm(base) / np.linalg.norm(away)
    gallery = (base + tangents[:, None] * away).astype(np.float32)
    cosines = np.array([cosine(base, vector) for vector in gallery])
    assert np.diff(np.sort(cosines)).max() < retrieval.NEAR
    found = search(np.stack([base] * 12), np.arange(12), Gallery.of(gallery), count=11)
    assert found.rank.tolist() == [int((cosines >= each - 1e-6).sum()) for each in cosines] == [*range(1, 13)]
    order = np.argsort(-cosines, kind="stable")
    assert found.positions[0].tolist() == [place for place in order.tolist() if place != 0]


def test_fewer_vectors_than_neighbours():
    found = search([[1.0, 0.0]], [0], Gallery.of([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]), count=5)
    assert found.rank.tolist() == [1]
    assert found.positions.tolist() == [[1, -1]]
    assert np.isnan(found.others[0, 1])


def test_a_gallery_of_one():
    found = search([[2.0, 1.0]], [0], Gallery.of([[1.0, 0.0]]), count=10)
    assert (found.rank.tolist(), found.positions.shape) == ([1], (1, 0))


def test_a_gallery_in_a_file_is_searched_like_one_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(retrieval, "BLOCK", 64)
    vectors, queries = made(np.random.default_rng(3))
    mapped = np.memmap(tmp_path / "vectors", np.float32, "w+", shape=vectors.shape)
    mapped[:] = vectors
    release_memory(mapped, 500)
    in_file = Gallery.of(mapped)
    assert in_file.vectors is mapped
    found, expected = (search(queries[:90], np.arange(90), each, count=10) for each in (in_file, Gallery.of(vectors)))
    assert found.rank.tolist() == expected.rank.tolist()
    assert found.positions.tolist() == expected.positions.tolist()
    np.testing.assert_array_equal(mapped, vectors)
