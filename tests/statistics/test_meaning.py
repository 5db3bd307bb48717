"""What a direction stands for: against loops, SciPy and scikit-learn; and words that are planted."""

import itertools

import numpy as np
import pytest
import scipy
from scipy import stats
from sklearn.covariance import empirical_covariance, ledoit_wolf, shrunk_covariance
from sklearn.metrics import roc_auc_score

from embedshift.statistics import meaning
from embedshift.statistics.meaning import Words
from embedshift.statistics.vectors import normalised_float32
from support.matrix import first_only


def drawn(count, dim, seed=3):
    return np.random.default_rng(seed).normal(size=(count, dim))


def words_of(**members):
    return Words(tuple(members), scipy.sparse.csr_array(np.stack([*members.values()], axis=1).astype(np.float32)))


@pytest.mark.parametrize("count", [60, 4_000, 9])
def test_the_space_is_that_of_ledoit_and_wolf_or_is_shrunk_further(count):
    vectors = normalised_float32(drawn(count, 12) * np.linspace(0.2, 2, 12) + 1)
    _, part = ledoit_wolf(vectors.astype(np.float64))
    part = max(part, min(0.3, 12 / count))
    covariance = shrunk_covariance(empirical_covariance(vectors.astype(np.float64)), shrinkage=part)
    space = meaning.space_of(vectors)
    inverse, expected = space.matrix.astype(np.float64) @ space.matrix.T, np.linalg.inv(covariance)
    assert inverse / np.trace(inverse) == pytest.approx(expected / np.trace(expected), rel=1e-3, abs=1e-6)
    assert space.mean == pytest.approx(vectors.mean(axis=0), abs=1e-6)


def test_no_group_is_in_both_halves():
    groups = np.repeat(np.arange(25), 4)
    second = meaning.halves_of(90, groups, seed=1)
    assert all(len(set(second[groups[:90] == group])) == 1 for group in range(23))
    assert abs(int(second.sum()) - 45) <= 6
    assert abs(int(meaning.halves_of(91, None, seed=1).sum()) - 45) <= 1


def test_an_image_is_judged_by_the_vector_that_was_fitted_without_it():
    originals, vectors = normalised_float32(drawn(40, 6)), drawn(2 * 3, 6, seed=4).reshape(2, 3, 6)
    second = meaning.halves_of(40, None, seed=0)
    scores = meaning.judged_scores(originals, vectors, second)
    for half, other in ((second, vectors[0]), (~second, vectors[1])):
        for place, vector in enumerate(other):
            along = np.array([float(original @ vector) for original in originals[half].astype(np.float64)])
            assert scores[half, place] == pytest.approx((along - along.mean()) / along.std(), abs=1e-4)
    places = [originals @ vector.T for vector in vectors]
    expected = [np.corrcoef(places[0][:, k], places[1][:, k])[0, 1] for k in range(3)]
    assert meaning.agreement_of(originals, vectors) == pytest.approx(expected, abs=1e-5)


def test_correlations_are_spearmans_in_each_half():
    scores, numbers = drawn(50, 3).astype(np.float32), np.round(drawn(50, 2, seed=5), 1)
    numbers[:, 0] += scores[:, 1]
    numbers[[2, 7, 30], 1] = np.nan
    second = meaning.halves_of(50, None, seed=2)
    found, sums = meaning.rank_correlations(scores, numbers, second)
    for place, column in itertools.product(range(3), range(2)):
        parts, weights = [], []
        for half in (~second, second):
            there = half & np.isfinite(numbers[:, column])
            parts.append(np.arctanh(stats.spearmanr(scores[there, place], numbers[there, column])[0]))
            weights.append(there.sum() - 3)
        assert found[place, column] == pytest.approx(np.tanh(np.average(parts, weights=weights)), abs=1e-5)
        assert sums[column] == sum(weights)
    assert np.isnan(meaning.rank_correlations(scores, np.full((50, 1), np.nan), second)[0]).all()
    few = np.where(np.arange(50)[:, None] < [50, 12], numbers, np.nan)
    few[:, 0] = 1.0
    assert meaning.often_measured(np.hstack([numbers, few]), second).tolist() == [0, 1]


@pytest.mark.parametrize("rho", first_only([0.4, 0.0, -0.8]))
def test_the_interval_of_a_correlation_holds_it_in_95_of_100_samples(rho):
    rng, count = np.random.default_rng(8), 60
    pairs = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=(1_000, count))
    found = np.array([stats.spearmanr(pair)[0] for pair in pairs])
    true = 6 / np.pi * np.arcsin(rho / 2)
    low, high = meaning.correlation_ends(found, count)
    held = int(((low <= true) & (true <= high)).sum())
    assert stats.binomtest(held, 1_000).proportion_ci(0.95).high >= 0.95
    assert held <= 980


def test_areas_are_those_of_a_loop_and_of_scikit_learn():
    scores, has_word = np.round(drawn(40, 2), 1).astype(np.float32), drawn(40, 1, seed=6)[:, 0] > 0.4
    half = np.arange(5, 40)
    found = meaning.areas_of(scores, words_of(word=has_word), half)
    for place in range(2):
        with_word, without = (scores[half][has_word[half] == have, place] for have in (True, False))
        pairs = [float(a > b) + 0.5 * (a == b) for a in with_word for b in without]
        assert found.areas[place, 0] == pytest.approx(np.mean(pairs), abs=1e-9)
        assert found.areas[place, 0] == pytest.approx(roc_auc_score(has_word[half], scores[half, place]), abs=1e-9)
    shuffled = [np.random.default_rng(seed).permutation(len(half)) for seed in range(4_000)]
    ranks, members = np.arange(len(half)), has_word[half]
    areas = [roc_auc_score(members, ranks[order]) for order in shuffled[:1_000]]
    assert found.by_chance[0] == pytest.approx(np.std(areas), rel=0.07)


@pytest.mark.parametrize("away", first_only([1.0, 0.0, 2.5]))
def test_the_interval_of_an_area_holds_it_in_95_of_100_samples(away):
    rng, held, true = np.random.default_rng(4), 0, stats.norm.cdf(away / np.sqrt(2))
    has_word = np.arange(60) < 15
    for _ in range(1_000):
        low, high = meaning.area_ends(roc_auc_score(has_word, rng.normal(size=60) + away * has_word), 15, 45)
        held += low <= true <= high
    assert stats.binomtest(held, 1_000).proportion_ci(0.95).high >= 0.95
    assert held <= 985


def test_the_interval_of_an_area_solves_newcombes_equation():
    for end in meaning.area_ends(0.8, 15, 45):
        rest = (1 - end) / (2 - end) + end / (1 + end)
        error = np.sqrt(end * (1 - end) * (1 + 29 * rest) / (15 * 45))
        assert abs(0.8 - end) == pytest.approx(stats.norm.isf(0.025) * error, rel=1e-6)
    low, high = meaning.area_ends(1.0, 5, 20)
    assert (0.5 < low < 0.9, high) == (True, 1.0)
    assert meaning.area_ends(0.0, 5, 20) == pytest.approx((0.0, 1 - low))


def test_counterfactuals_are_the_lowest_of_the_nearest_otherwise():
    originals = normalised_float32(drawn(80, 5))
    vector = np.array([1, 0.5, 0, 0, 0])
    scores = originals @ vector
    high = meaning.furthest(scores, 6)
    assert high.tolist() == sorted(range(80), key=lambda image: -scores[image])[:6]
    rest = [row - (row @ vector) / 1.25 * vector for row in originals - originals.mean(axis=0)]
    for image, found in zip(high, meaning.counterfactuals(originals, vector, scores, high), strict=True):

        def cosine(other, image=image):
            return float(rest[image] @ rest[other] / np.linalg.norm(rest[image]) / np.linalg.norm(rest[other]))

        near = sorted((other for other in range(80) if other != image), key=cosine)[-20:]
        assert found == min(near, key=lambda other: scores[other])


def test_counterfactuals_remove_the_word_that_only_goes_along():
    """Animals lie further along the first number, and most are outdoors, which others show."""
    rng, count = np.random.default_rng(2), 400
    is_animal = rng.random(count) < 0.4
    is_outdoor = rng.random(count) < np.where(is_animal, 0.85, 0.25)
    raw = rng.normal(size=(count, 12))
    raw[:, 0] += 2 * is_animal
    raw[:, 1:4] += 4 * is_outdoor[:, None]
    originals, half = raw.astype(np.float32), np.arange(0, count, 2)
    words = words_of(animal=is_animal, outdoor=is_outdoor, other=rng.random(count) < 0.4)
    scores = originals[:, :1]
    areas = meaning.areas_of(scores, words, half)
    assert areas.areas[0, 0] > areas.areas[0, 1] > 0.6
    assert meaning.chosen_words(areas)[0][:2].tolist() == [0, 1]
    removed = meaning.removed_words(originals, np.eye(1, 12), scores, words, half)
    assert removed.tolist() == [[False, True, True]]
    assert meaning.chosen_words(areas, removed)[0].tolist() == [0]


def test_words_are_chosen_by_their_deviation_and_judged_on_the_second_half():
    areas = meaning.Areas(np.array([[0.9, 0.7, 0.2, 0.6, 0.62]]), np.array([5.0, 8, 9, 4, 15]), 30)
    chance = [np.sqrt(31 / (12 * n * (30 - n))) for n in areas.having]
    assert areas.deviations[0] == pytest.approx((areas.areas[0] - 0.5) / chance)
    assert meaning.chosen_words(areas)[0].tolist() == [0, 1, 4, 3]
    assert meaning.chosen_words(areas, np.array([[True, False, False, False, False]]))[0].tolist() == [1, 4, 3]
    scores, second = drawn(80, 3).astype(np.float32), np.arange(80) >= 40
    has_word = np.random.default_rng(1).random((80, 9)) < 0.4
    words = words_of(**{f"w{k}": has_word[:, k] for k in range(9)})
    found = meaning.largest_by_chance(scores, words, second)
    for place in range(3):
        z = [
            [
                (roc_auc_score(has_word[half, k], scores[half, place]) - 0.5)
                / np.sqrt(41 / (12 * has_word[half, k].sum() * (40 - has_word[half, k].sum())))
                for k in range(9)
            ]
            for half in (~second, second)
        ]
        chosen = [k for k in np.argsort(z[0])[::-1][:5] if z[0][k] > 0]
        assert found[place] == pytest.approx(max([z[1][k] for k in chosen] + [0.0]))


def test_groups_count_as_their_means():
    values = np.array([[1.0, np.nan], [3.0, 4.0], [5.0, np.nan], [7.0, np.nan]])
    means = meaning.group_means(values, np.array([9, 9, 2, 9]))
    assert means == pytest.approx(np.array([[5.0, np.nan], [11 / 3, 4.0]]), nan_ok=True)
    assert meaning.group_means(values, None) is not None
    words = words_of(a=np.array([1, 1, 0, 0]), b=np.array([0, 1, 1, 0]), c=np.array([0, 0, 1, 0]))
    grouped = words.of_groups(np.array([0, 0, 1, 1]))
    assert grouped.members.toarray().tolist() == [[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]


def test_the_limit_of_many_directions_is_that_of_their_largest():
    normal = np.abs(np.random.default_rng(1).normal(size=200_000))
    assert meaning.least_beyond(normal, 1) == pytest.approx(1.96, abs=0.02)
    assert meaning.least_beyond(normal, 10) == pytest.approx(stats.norm.isf((1 - 0.95**0.1) / 2), abs=0.05)


def test_random_directions_are_as_many_and_as_long_in_every_direction():
    originals = normalised_float32(drawn(200, 4) * [3, 1, 1, 0.3])
    second = meaning.halves_of(200, None, seed=0)
    spaces = meaning.space_of(originals[~second]), meaning.space_of(originals[second])
    scores = np.concatenate([*meaning.random_scores(originals, second, spaces, 1, 0)], axis=1)
    assert scores.shape == (200, meaning.LEAST_RANDOM)
    loadings = np.linalg.lstsq((originals - originals.mean(axis=0)) @ spaces[0].matrix, scores, rcond=None)[0]
    loadings /= np.linalg.norm(loadings, axis=0)
    assert np.square(loadings).mean(axis=1) == pytest.approx(np.full(4, 0.25), abs=0.05)
