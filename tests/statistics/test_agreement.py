"""Kept neighbours and CKA: against loops over images, and over all quadruples of images."""

import itertools

import numpy as np
import pytest
from scipy import stats

from embedshift.statistics import agreement


def encoders(images, seed=0, noise=0.5):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(images, 6)) + 0.5
    return first, np.hstack([first[:, ::-1], rng.normal(size=(images, 2))]) + noise * rng.normal(size=(images, 8))


def slow_neighbours(vectors, images, units, count):
    found = {}
    for i in images:
        others = [j for j in images if units[j] != units[i]]
        cosine = {j: vectors[i] @ vectors[j] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j]) for j in others}
        found[i] = set(sorted(others, key=lambda j: -cosine[j])[:count])
    return found


def slow_kept(sides, images, units, count):
    first, second = (slow_neighbours(side, images, units, count) for side in sides)
    return np.mean([len(first[i] & second[i]) / count for i in images])


@pytest.mark.parametrize("grouped", [False, True], ids=["images", "groups"])
def test_kept_neighbours_equal_a_loop(grouped):
    sides, units = encoders(27), np.arange(27) // 3 if grouped else np.arange(27)
    value, low, high = agreement.agreement("neighbours@10", *sides, units if grouped else None)
    assert value == pytest.approx(slow_kept(sides, np.arange(27), units, 10), abs=1e-12)
    assert 0.3 < low < value < high < 0.95


@pytest.mark.parametrize("frames", [1, 3], ids=["images", "groups"])
def test_the_error_of_kept_neighbours_is_their_spread_over_samples(frames):
    """Of 30 images, or of 20 groups of three that are alike."""
    scenes, found = 30 if frames == 1 else 20, []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        first = np.repeat(rng.normal(size=(scenes, 6)), frames, axis=0) + 0.3 * rng.normal(size=(scenes * frames, 6))
        second = first + np.repeat(0.4 * rng.normal(size=(scenes, 6)), frames, axis=0)
        units = None if frames == 1 else np.repeat(np.arange(scenes), frames)
        found.append(agreement.neighbours_kept(first, second, units))
    values, errors = np.array(found).T
    assert errors.mean() == pytest.approx(values.std(ddof=1), rel=0.2)


def slow_hsic(first, second):
    """The mean over all quadruples of different images, which is Song's estimator."""
    grams = [side @ side.T for side in (first, second)]
    terms = [
        grams[0][i, j] * (grams[1][i, j] + grams[1][q, r] - 2 * grams[1][i, q])
        for i, j, q, r in itertools.permutations(range(len(first)), 4)
    ]
    return np.mean(terms)


def slow_cka(first, second):
    return slow_hsic(first, second) / np.sqrt(slow_hsic(first, first) * slow_hsic(second, second))


@pytest.mark.parametrize("grouped", [False, True], ids=["images", "groups"])
def test_cka_equals_the_mean_over_all_quadruples_and_is_jackknifed(grouped):
    sides = encoders(8, seed=1, noise=0.2)
    units = np.repeat(np.arange(4), (1, 2, 2, 3)) if grouped else None
    value, error = agreement.linear_cka(*sides, units)
    assert value == pytest.approx(slow_cka(*sides), rel=1e-9)
    groups = np.arange(8) if units is None else units
    without = [slow_cka(*(side[groups != unit] for side in sides)) for unit in np.unique(groups)]
    count = len(without)
    spread = (count - 1) / count * np.square(np.array(without) - np.mean(without)).sum()
    assert error == pytest.approx(np.sqrt(spread), rel=1e-9)


def test_cka_of_independent_vectors_is_0_on_average_and_1_of_turned_ones():
    rng = np.random.default_rng(0)
    values = [agreement.linear_cka(rng.normal(size=(30, 40)), rng.normal(size=(30, 40)))[0] for _ in range(60)]
    assert abs(np.mean(values)) < 0.01
    vectors = rng.normal(size=(20, 5))
    turned = 3 * vectors @ np.linalg.qr(rng.normal(size=(5, 5)))[0] + 7
    assert agreement.agreement("cka", vectors, turned)[0] == pytest.approx(1)
    for metric in agreement.METRICS:
        assert agreement.agreement(metric, vectors, vectors) == (1.0, 1.0, 1.0)


def test_fewer_than_eight_units_have_no_interval():
    vectors, _ = encoders(7)
    assert np.isnan(agreement.agreement("cka", vectors, vectors)[1:]).all()
    sides, units = encoders(21), np.arange(21) // 3
    assert np.isnan(agreement.agreement("neighbours@10", *sides, units)[1:]).all()


@pytest.mark.parametrize("metric", agreement.METRICS)
def test_eight_units_have_student_s_interval_within_what_is_possible(metric):
    rng, cut = np.random.default_rng(0), 0
    for noise in (0.2, 0.5, 2.0, 5.0):
        for images, units in ((8, None), (16, np.arange(16) // 2)):
            first = rng.normal(size=(images, 6))
            sides = first, first + noise * rng.normal(size=first.shape)
            value, low, high = agreement.agreement(metric, *sides, units)
            expected, error = agreement.METRICS[metric](*sides, units)
            margin = stats.t.ppf(0.975, 7) * error
            wanted = (expected, max(expected - margin, min(0.0, expected)), min(expected + margin, 1.0))
            assert (value, low, high) == pytest.approx(wanted, abs=1e-12)
            cut += (low == min(0.0, value)) + (high == 1.0)
    assert 0 < cut < 16, "some ends are those of the range, some are not"
