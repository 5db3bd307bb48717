"""Margins from halves of an encoder's dimensions, against explicit loops."""

import math

import numpy as np
import pytest
from scipy import stats

from embedshift.statistics.intervals import difference_of_proportions
from embedshift.statistics.vectors import ROTATIONS, halves
from embedshift.study.gate.proposal import margins_of

pytestmark = pytest.mark.slow

IMAGES, AUGMENTATIONS, DRAWS, DIM = 14, 2, 2, 12


def made(sizes=(0.3, 1.0)):
    rng = np.random.default_rng(4)
    originals = rng.normal(size=(IMAGES, DIM)) + 1.0
    away = np.array(sizes)[:, None, None] * rng.normal(size=(IMAGES, AUGMENTATIONS, DRAWS, DIM))
    return originals.astype(np.float32), (originals[:, None, None] + away).astype(np.float32)


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def explicit_errors(pairs):
    """By the jackknife: every image left out of the mean and of both baselines; mean square over rotations."""
    squares = []
    for pair in pairs:
        tables = []
        for originals, views in pair:
            others = np.array([[1 - cosine(one, other) for other in originals] for one in originals])
            own = [[[1 - cosine(originals[i], v) for v in views[i, a]] for i in range(IMAGES)] for a in (0, 1)]
            tables.append((others, np.array(own)))
        numbers = []
        for left in (None, *range(IMAGES)):
            some = [image for image in range(IMAGES) if image != left]
            logs = []
            for others, own in tables:
                baseline = others[np.ix_(some, some)][~np.eye(len(some), dtype=bool)].mean()
                logs.append(np.log(own[:, some] / baseline + 1e-6).mean(axis=(1, 2)))
            by_view = logs[1] - logs[0]
            numbers.append([*by_view, by_view[0]])
        without = np.array(numbers[1:])
        squares.append((IMAGES - 1) / IMAGES * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    return np.sqrt(np.mean(squares, axis=0))


def pairs_of(originals, views, seed=7):
    flat = np.concatenate([originals, views.reshape(-1, DIM)])
    for pair in halves(flat, seed=seed):
        parts = [half.astype(np.float64) for half in pair]
        yield [(part[:IMAGES], part[IMAGES:].reshape(*views.shape[:3], -1)) for part in parts]


def test_ratios_are_twice_the_half_width_of_equal_encoders():
    originals, views = made()
    errors = explicit_errors(pairs_of(originals, views))
    found, broken = margins_of(originals, views, np.array([True, False]), IMAGES, 7)[0]
    of_each, of_all = stats.t(IMAGES - 1).ppf([1 - 0.025 / 2, 1 - 0.025])
    assert np.log(found) == pytest.approx(2 * np.array([of_each, of_each, of_all]) * errors, rel=0.02)
    assert (found > 1.1).all()
    # Beyond the bound by the half-width of an interval, and by what a study in five is below its truth.
    per_error = (1 + stats.norm.ppf(0.8) / stats.norm.ppf(0.975)) * np.array([of_each, of_each, of_all])
    assert np.log(broken / found) == pytest.approx(per_error * errors, rel=0.02)
    # Of which these images are a part: errors fall with the root.
    many = margins_of(originals, views, np.array([True, False]), 100 * IMAGES, 7)[0][0]
    t = stats.t(100 * IMAGES - 1).ppf(1 - 0.025 / 2)
    assert math.log(many[0]) == pytest.approx(max(math.log(1.1), 2 * t * errors[0] / 10), rel=0.02)
    nearly = margins_of(originals, views, np.array([True, False]), 10**6 * IMAGES, 7)[0][0]
    assert nearly.tolist() == [1.1, 1.1, 1.05]


def test_recall_is_the_worst_end_of_halves_and_agreement_four_deviations_below():
    originals, views = made((0.5, 1.0))
    _, (falls, _), floors = margins_of(originals, views, np.array([True, True]), IMAGES, 11)
    worst = [0.0, 0.0]
    kept = []
    for pair in pairs_of(originals, views, 11):
        found = np.zeros((2, IMAGES, AUGMENTATIONS, DRAWS))
        for half, (own, changed) in enumerate(pair):
            for i, a, d in np.ndindex(IMAGES, AUGMENTATIONS, DRAWS):
                cosines = [cosine(changed[i, a, d], original) for original in own]
                found[half, i, a, d] = cosines[i] > max(np.delete(cosines, i))
        gains = (found[1] - found[0]).mean(axis=-1)
        for a in range(AUGMENTATIONS):
            gained, lost = (np.maximum(side * gains[:, a], 0).sum() for side in (1, -1))
            low, high = difference_of_proportions(gained, lost, IMAGES)
            worst[a] = max(worst[a], -low, high)
        nearest = []
        for own, _ in pair:
            cosines = own @ own.T - 9 * np.eye(IMAGES)
            nearest.append([set(np.argsort(-row)[:6]) for row in cosines])  # half of the 13 others
        kept.append(np.mean([len(a & b) / 6 for a, b in zip(*nearest, strict=True)]))
    least = -difference_of_proportions(0, 1, IMAGES)[0]
    assert falls[:2] == pytest.approx([max(each, least) for each in worst])
    assert floors[0] == pytest.approx(np.mean(kept) - 4 * np.std(kept, ddof=1))
    assert len(kept) == ROTATIONS
    assert floors[1] < 1


def test_images_of_a_group_count_once():
    """Each image twice, as a group of two: the numbers of the images alone."""
    originals, views = made()
    alone = margins_of(originals, views, np.array([True, True]), IMAGES, 7)
    groups = np.repeat(np.arange(IMAGES), 2)
    twice = margins_of(originals[groups], views[groups], np.array([True, True]), IMAGES, 7, groups)
    assert twice[0] == pytest.approx(alone[0], rel=1e-4)
    assert twice[1][0, :2] == pytest.approx(alone[1][0, :2], rel=0.2)
