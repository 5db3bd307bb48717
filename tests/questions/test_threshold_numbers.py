"""Split conformal thresholds against slow loops, and their guarantee on simulated vectors."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from embedshift.questions.threshold.numbers import (
    LEAST,
    Parts,
    best_scores,
    chosen_score,
    flagged,
    is_match,
    needed,
    needed_for_flags,
    own_scores,
    p_values,
    rank,
    score_name,
    scores_of,
    threshold,
)
from embedshift.statistics.retrieval import Gallery
from embedshift.statistics.vectors import normalised_float32


def unit(rng, *shape):
    return normalised_float32(rng.normal(size=shape).astype(np.float32))


def slow_level(vector, background):
    cosines = sorted((float(np.dot(vector.astype(float), each.astype(float))) for each in background), reverse=True)
    return sum(cosines[:10]) / len(cosines[:10]) / 2


def test_best_scores_are_those_of_a_slow_loop_without_images_of_the_own_group():
    rng = np.random.default_rng(0)
    queries, stored, background = unit(rng, 40, 12), unit(rng, 60, 12), unit(rng, 15, 12)
    stored[7], queries[3] = 0, 0
    labels, own = rng.integers(20, size=60), rng.integers(20, size=40)
    scores = scores_of(12, background)
    assert [score_name(score) for score in scores] == ["cosine", "normalised"]
    found = best_scores(queries, own, Gallery.of(3 * stored, labels), scores)
    for query, is_normalised in itertools.product(range(40), (False, True)):
        best = LEAST
        for place in range(60):
            if labels[place] == own[query] or place == 7 or query == 3:
                continue
            value = float(np.dot(queries[query].astype(float), stored[place].astype(float)))
            if is_normalised:
                value -= slow_level(queries[query], background) + slow_level(stored[place], background)
            best = max(best, value)
        assert found[int(is_normalised), query] == pytest.approx(best, abs=5e-7)
    own_found = own_scores(queries, stored[:40], scores)
    for place, query in enumerate(queries):
        value = float(np.dot(query.astype(float), stored[place].astype(float)))
        expected = LEAST if place in (3, 7) else value - slow_level(query, background) - slow_level(
            stored[place], background
        )  # fmt: skip
        assert own_found[1, place] == pytest.approx(expected, abs=5e-7)


def test_many_queries_and_blocks_are_searched_as_few_are(monkeypatch):
    rng = np.random.default_rng(1)
    queries, stored, background = unit(rng, 50, 8), unit(rng, 70, 8), unit(rng, 12, 8)
    own, gallery, scores = np.full(50, -1), Gallery.of(stored, np.arange(70)), scores_of(8, background)
    whole = best_scores(queries, own, gallery, scores)
    monkeypatch.setattr("embedshift.questions.threshold.numbers.QUERIES", 7)
    monkeypatch.setattr("embedshift.statistics.retrieval.BLOCK", 11)
    np.testing.assert_allclose(best_scores(queries, own, gallery, scores), whole, atol=1e-6)


@pytest.mark.parametrize("wrong", [0.2, 0.05, 0.02, 0.01, 1 / 3])
def test_the_rank_is_the_first_whose_binomial_bound_holds(wrong):
    for count in (1, 2, 19, 20, 49, 58, 59, 67, 133, 400):
        on_average = next((k for k in range(1, count + 1) if k / (count + 1) >= 1 - wrong - 1e-12), count + 1)
        assert rank(count, wrong) == on_average
        sure = next((k for k in range(1, count + 1) if binom.cdf(k - 1, count, 1 - wrong) >= 0.95), count + 1)
        assert rank(count, wrong, 0.95) == max(sure, on_average)
        assert (rank(count, wrong) <= count) == (count >= needed(wrong))
        assert (rank(count, wrong, 0.95) <= count) == (count >= needed(wrong, 0.95))


def test_how_many_queries_are_needed():
    assert [needed(wrong) for wrong in (0.5, 0.05, 0.02, 0.01)] == [1, 19, 49, 99]
    assert [needed(wrong, 0.95) for wrong in (0.05, 0.02, 0.01)] == [59, 149, 299]
    assert [needed_for_flags(wrong, having) for wrong, having in ((0.1, 0.5), (0.05, 0.1), (0.1, 0.01))] == [
        20, 200, 1000,
    ]  # fmt: skip
    assert math.isnan(threshold(np.arange(18.0), 0.05))
    assert threshold(np.arange(19.0)[::-1], 0.05) == 18.0


def test_a_match_is_strictly_above_and_scores_within_a_millionth_are_ties():
    assert is_match([0.5, 0.5 + 5e-7, 0.5 + 2e-6, 0.4], 0.5).tolist() == [False, False, True, False]
    best = np.array([0.1, 0.5, 0.5, 0.9])
    assert p_values([0.5 + 5e-7, 0.5 + 2e-6, 1.0], best).tolist() == [4 / 5, 2 / 5, 1 / 5]


def test_p_values_and_thresholds_say_the_same():
    rng = np.random.default_rng(2)
    best, scores = rng.integers(30, size=67) / 30, rng.integers(35, size=500) / 30
    for wrong in (0.02, 0.05, 0.3):
        assert (is_match(scores, threshold(best, wrong)) == (p_values(scores, best) <= wrong)).all()
    slow = [(1 + sum(each >= score - 1e-6 for each in best)) / 68 for score in scores]
    np.testing.assert_allclose(p_values(scores, best), slow)


def test_flags_are_those_of_a_slow_loop():
    rng = np.random.default_rng(3)
    for wrong, count in itertools.product((0.05, 0.2), (1, 7, 60)):
        p = np.round(rng.random(count) ** 3, 2)
        limit = 0.0
        for place, value in enumerate(sorted(p), start=1):
            if value <= wrong * place / count + 1e-12:
                limit = value
        assert flagged(p, wrong).tolist() == [bool(value <= limit) for value in p]
    assert flagged([], 0.1).tolist() == []
    assert flagged([0.9, 0.8], 0.1).tolist() == [False, False]


def test_parts_are_disjoint_by_groups_and_hold_one_image_of_each():
    groups = np.random.default_rng(4).integers(90, size=400)
    count = len(np.unique(groups))
    parts = Parts.of(groups, seed=0)
    lists = (parts.calibration, parts.choosing, parts.background)
    held = [set(groups[part].tolist()) for part in (*lists, np.flatnonzero(parts.searched))]
    assert all(not one & other for one, other in itertools.combinations(held, 2))
    assert set().union(*held) == set(groups.tolist())
    assert [len(part) for part in lists] == [len(each) for each in held[:3]] == [round(count / 3), *[count // 6] * 2]
    assert set(groups[parts.judged].tolist()) == held[3]
    assert len(parts.judged) == len(held[3])
    other = Parts.of(groups, seed=1)
    assert set(other.calibration.tolist()) != set(parts.calibration.tolist())


def test_another_score_is_chosen_only_where_it_surely_finds_more():
    rng = np.random.default_rng(7)
    best = np.stack([rng.uniform(0, 0.5, (40, 3)), rng.uniform(0, 0.1, (40, 3))])
    own = np.full((2, 40, 3), 0.3)
    assert chosen_score(own, best, 0.05, seed=0) == 1
    assert chosen_score(own, best[::-1], 0.05, seed=0) == 0
    assert chosen_score(own, best[:1].repeat(2, axis=0), 0.05, seed=0) == 0
    assert chosen_score(own[:, :0], best[:, :0], 0.05, seed=0) == 0
    assert chosen_score(own[:1], best[:1], 0.05, seed=0) == 0
    own[1, :5] = 0.05  # a little more is no reason
    alike = best[:1].repeat(2, axis=0) / 2
    alike[0, 0] = 0.35
    assert chosen_score(own, alike, 0.05, seed=0) == 0


@pytest.mark.parametrize("kind", ["vectors", "groups", "binary"])
def test_a_new_query_without_a_match_gets_one_as_rarely_as_asked(kind):
    """1,500 repetitions; `benchmarks/threshold.py guarantee` has more."""
    rng = np.random.default_rng(5)
    several = 3 if kind == "groups" else 1
    centres = np.repeat(rng.normal(size=(2_000, 8)), several, axis=0)
    queries, stored = centres + 0.2 * rng.normal(size=centres.shape), rng.normal(size=(80, 8))
    if kind == "binary":
        queries, stored = np.sign(queries), np.sign(stored)
    gallery = Gallery.of(normalised_float32(stored), np.arange(80))
    best = best_scores(
        normalised_float32(queries), np.full(len(queries), -1), gallery, scores_of(8, np.zeros((0, 8), np.float32))
    )[0].reshape(-1, several)
    for wrong, confidence, size in ((0.05, None, 67), (0.05, 0.95, 67), (0.02, None, 133), (0.05, 0.95, 400)):
        rates = []
        for _ in range(1_500):
            order = rng.permutation(len(best))
            one = best[order, rng.integers(several, size=len(best))]
            rates.append(is_match(one[size:], threshold(one[:size], wrong, confidence)).mean())
        error = np.std(rates) / np.sqrt(len(rates))
        assert np.mean(rates) < wrong + 3 * error
        if kind != "binary" and confidence is None:
            exact = 1 - rank(size, wrong) / (size + 1)
            assert np.mean(rates) == pytest.approx(exact, abs=4 * error), "no more careful than it must be"
        if confidence is not None:
            assert np.mean(np.array(rates) > wrong) < 1 - confidence + 3 * np.sqrt(0.05 * 0.95 / 1_500)


@pytest.mark.parametrize("part", [2, 10])
def test_of_flagged_queries_as_few_as_asked_have_no_match(part):
    rng, wrong, rates, found = np.random.default_rng(6), 0.1, [], []
    for _ in range(1_000):
        best, count = rng.normal(size=400), 200 // part
        scores = np.concatenate([rng.normal(4.0, 1.0, count), rng.normal(size=200 - count)])
        flags = flagged(p_values(scores, best), wrong)
        rates.append(flags[count:].sum() / max(1, flags.sum()))
        found.append(flags[:count].mean())
    assert np.mean(rates) < wrong + 3 * np.std(rates) / np.sqrt(1_000)
    assert np.mean(rates) > wrong * (1 - 1 / part) - 0.03
    assert np.mean(found) > 0.8
