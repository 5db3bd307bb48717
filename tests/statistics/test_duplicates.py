"""The tail of the cosines of pairs of different images, and pairs above a cosine, against scipy and explicit loops."""

import itertools
import logging
import re

import numpy as np
import pytest
import scipy.stats

from embedshift.statistics import duplicates, search_index
from embedshift.statistics.duplicates import components, cosines_of, fit_tail, pairs_above, rule_in_words, sets_of
from embedshift.statistics.search_index import near_pairs


def points(rng, count, dim=8):
    vectors = rng.normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def with_copies(rng, vectors, count, by=0.01):
    moved = vectors[:count] + by * rng.normal(size=(count, vectors.shape[1])).astype(np.float32)
    return np.concatenate([vectors, moved / np.linalg.norm(moved, axis=1, keepdims=True)])


def all_cosines(vectors, groups=None):
    pairs = itertools.combinations(range(len(vectors)), 2)
    wide = vectors.astype(np.float64)
    return {
        (i, j): float(wide[i] @ wide[j] / np.linalg.norm(wide[i]) / np.linalg.norm(wide[j]))
        for i, j in pairs
        if groups is None or groups[i] != groups[j]
    }


@pytest.mark.parametrize(("dim", "is_linear"), [(48, True), (6, False)])
@pytest.mark.parametrize("groups", [None, np.arange(90) // 3])
def test_the_rate_is_that_of_scipy_for_censored_numbers(groups, dim, is_linear):
    vectors = points(np.random.default_rng(0), 90, dim)
    cosines = np.array([*all_cosines(vectors, groups).values()])
    scaled = cosines if is_linear else -np.log(1 - cosines)
    start, nearest = np.quantile(scaled, [0.98, 0.998])
    beyond = scaled[scaled > start] - start
    censored = beyond >= nearest - start
    data = scipy.stats.CensoredData(uncensored=beyond[~censored], right=np.full(censored.sum(), nearest - start))
    _, scale = scipy.stats.expon.fit(data, floc=0)
    tail = fit_tail(vectors, groups, seed=0)
    assert 1 / tail.rate == pytest.approx(scale, rel=0.03)
    assert tail.pairs == len(cosines)
    assert tail.is_linear == is_linear
    least = tail.threshold(3.0)
    assert tail.expected(least) == pytest.approx(3.0)
    value = start + scale * np.log(0.02 * len(cosines) / 3)
    assert least == pytest.approx(value if is_linear else 1 - np.exp(-value), abs=0.02)


@pytest.mark.parametrize("dim", [8, 48])
@pytest.mark.parametrize("copies", [0, 30])
def test_as_many_false_pairs_are_found_as_are_expected(copies, dim):
    rng, false = np.random.default_rng(1), []
    for seed in range(60):
        vectors = with_copies(rng, points(rng, 100, dim), copies)
        least = fit_tail(vectors, None, seed=seed).threshold(2.0)
        first, second = pairs_above(vectors, least, 10_000)
        true = second - first == 100
        assert true.sum() == copies
        false.append(int((~true).sum()))
    # The cosines of many dimensions without any classes have a shorter tail, so that fewer are found.
    assert (2 / 1.5 if dim == 8 else 0.2) < np.mean(false) < 2 * 1.5


def test_many_copies_do_not_change_the_threshold():
    rng = np.random.default_rng(2)
    vectors = points(rng, 200)
    alone, copied = (fit_tail(each, None, seed=0).threshold(1.0) for each in (vectors, with_copies(rng, vectors, 100)))
    assert copied == pytest.approx(alone, abs=0.02)


@pytest.mark.parametrize("limits", [{"DRAWN": 300}, {"DRAWN": 300, "OTHERS": 900}])
def test_the_tail_of_a_large_set_is_seen_on_some_of_its_images(monkeypatch, limits):
    vectors = points(np.random.default_rng(3), 1_500, 16)
    whole = fit_tail(vectors, None, seed=0)
    for name, limit in limits.items():
        monkeypatch.setattr(duplicates, name, limit)
    part = fit_tail(vectors, None, seed=0)
    assert part.above == whole.above == pytest.approx(10 * 1_500 / (1_500 * 1_499 / 2))
    assert part.threshold(1.0) == pytest.approx(whole.threshold(1.0), abs=0.02)
    assert part.threshold(1.0) != whole.threshold(1.0)


def test_few_images_or_groups_and_equal_ones_have_no_tail():
    vectors = points(np.random.default_rng(4), 40)
    assert fit_tail(vectors[:19], None, seed=0) is None
    assert fit_tail(vectors, np.arange(40) % 19, seed=0) is None
    assert fit_tail(np.tile(vectors[:1], (40, 1)), None, seed=0) is None
    assert fit_tail(vectors[:20], None, seed=0) is not None


@pytest.mark.parametrize("most", [10_000, 25])
@pytest.mark.parametrize("least", [0.3, -1.0, 0.999])
def test_the_pairs_are_those_of_a_loop(monkeypatch, least, most):
    monkeypatch.setattr(duplicates, "_ROWS", 16)
    monkeypatch.setattr(duplicates, "_COLUMNS", 24)
    rng = np.random.default_rng(5)
    vectors = with_copies(rng, points(rng, 60, 4), 7, by=0.0)
    expected = {pair: cosine for pair, cosine in all_cosines(vectors).items() if cosine >= least}
    first, second = pairs_above(vectors, least, most)
    assert len(first) == min(most, len(expected))
    found = [*zip(first.tolist(), second.tolist(), strict=True)]
    assert {*found} <= {*expected}
    if len(expected) <= most:
        assert {*found} == {*expected}
    highest = sorted(expected.values(), reverse=True)[:most]
    np.testing.assert_allclose(cosines_of(vectors, first, second), highest, atol=1e-12)


def test_sets_of_three_images_or_more_are_those_of_connected_pairs():
    numbers, is_large = sets_of((np.array([0, 4, 1]), np.array([1, 5, 2])), 6)
    assert is_large.tolist() == [True, False, True]
    assert numbers[0] == numbers[2] != numbers[1]
    assert sets_of((np.zeros(0, int), np.zeros(0, int)), 3)[1].tolist() == []


def test_the_rule_in_words():
    assert "0.9 or more" in rule_in_words({"threshold": "0.9"}, 5)
    assert "equal embeddings" in rule_in_words({"expected_false": "1.0"}, 19)
    assert "3 such pair" in rule_in_words({"expected_false": "3.0"}, 20)


def test_faiss_finds_the_pairs_and_the_groups_of_all_pairs(monkeypatch, caplog):
    pytest.importorskip("faiss")
    monkeypatch.setattr(search_index, "LEAST_PAIRED", 3_000)
    rng = np.random.default_rng(6)
    vectors = with_copies(rng, points(rng, 3_000, 24), 200, by=0.05)
    vectors[5] = vectors[6] = 0  # no direction
    with caplog.at_level(logging.INFO, "embedshift"):
        near = near_pairs(vectors, 0.9)
    assert re.search(
        r"among 3,200 images by FAISS \(SQ8\): it finds 1.0000 of the pairs from a cosine of 0.", caplog.text
    )
    first, second = pairs_above(vectors, 0.9, 10_000, near)
    wanted = pairs_above(vectors, 0.9, 10_000)
    assert len(wanted[0]) >= 198
    assert [first.tolist(), second.tolist()] == [end.tolist() for end in wanted]
    assert pairs_above(vectors, 0.9, 50, near)[0].tolist() == first[:50].tolist()
    groups = np.arange(3_200) // 2
    for given in (None, groups):
        assert components(vectors, 0.9, given, near).tolist() == components(vectors, 0.9, given).tolist()


def test_its_recall_is_that_of_a_loop_over_the_exact_nearest(monkeypatch):
    pytest.importorskip("faiss")
    for name, value in {"LEAST_PAIRED": 2_000, "COMPARED": 1, "RECALL_IMAGES": 2_000}.items():
        monkeypatch.setattr(search_index, name, value)
    vectors = points(np.random.default_rng(7), 2_000, 24)
    near = near_pairs(vectors, 2.0)  # one cell is searched
    recall, least = near.recall(2.0)
    cosines = vectors.astype(float) @ vectors.T.astype(float)
    np.fill_diagonal(cosines, -1)
    wanted = {
        (min(pair), max(pair)) for pair in np.argwhere(cosines >= least - 1e-9).tolist() for pair in [tuple(pair)]
    }
    assert 20 <= len(wanted) <= 50
    found = {pair for one, two, _ in near.pairs(lambda: least) for pair in zip(one.tolist(), two.tolist(), strict=True)}
    assert recall == pytest.approx(len(wanted & found) / len(wanted), abs=0.05)
    assert recall < 1
