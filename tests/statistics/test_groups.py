"""Samples of groups of images, and baselines between groups, against slow loops."""

import dataclasses
import itertools

import numpy as np
import polars as pl
import pytest

from embedshift.statistics import sample
from embedshift.statistics.baselines import KEPT, cosine_baseline, distance_baseline, relative_shifts
from embedshift.statistics.duplicates import components, mean_cosine, near_cosine, unit_float32
from embedshift.statistics.intervals import bounded_interval, mean_interval, proportion_interval, ratio_interval
from embedshift.statistics.layout import image_rows
from embedshift.statistics.sample import estimates_from_values, gather
from embedshift.statistics.summary import measured

UNITS = np.array([0, 1, 0, 2, 2, 2, 3, 4, 5, 6, 7, 1, 0, 8])


def values(images=14, columns=3, seed=0):
    rng = np.random.default_rng(seed)
    found = rng.gamma(2.0, 1.0, (images, columns))
    found[rng.random(found.shape) < 0.15] = np.nan
    return found


def slow(column):
    """Mean over images, and the standard error of a ratio of sums over groups."""
    groups = sorted(set(UNITS.tolist()))
    sums = [np.nansum(column[group == UNITS]) for group in groups]
    counts = [(~np.isnan(column[group == UNITS])).sum() for group in groups]
    mean, size = sum(sums) / sum(counts), sum(counts) / len(groups)
    rest = [(s - mean * n) / size for s, n in zip(sums, counts, strict=True)]
    return mean, np.sqrt(sum(r**2 for r in rest) / (len(groups) - 1) / len(groups)), sum(n > 0 for n in counts)


def test_means_are_over_images_and_errors_over_groups():
    found = estimates_from_values(values(), UNITS)
    assert found.group_count == 9
    for column, own in enumerate(values().T):
        mean, error, having = slow(own)
        assert found.mean[column] == pytest.approx(mean, rel=1e-12)
        assert found.error[column] == pytest.approx(error, rel=1e-12)
        assert (found.having[column], found.images_having[column]) == (having, (~np.isnan(own)).sum())
    np.testing.assert_allclose(found.sd, np.nanstd(values(), axis=0, ddof=1), rtol=1e-12)


def test_differences_are_paired_by_image():
    found = estimates_from_values(values(), UNITS).paired([[1.0], [-1.0], [0.0]])
    mean, error, _ = slow(values()[:, 0] - values()[:, 1])
    assert (found.mean.item(), found.error.item()) == pytest.approx((mean, error), rel=1e-12)


def test_many_images_are_the_same_sample(monkeypatch):
    images, rng = 1_100, np.random.default_rng(0)
    units = rng.integers(0, 400, images)
    frame = {"view": ["original", "blur"] * images, "cosine_similarity": values(2 * images, 1)[:, 0]}
    rows = dataclasses.replace(image_rows(pl.DataFrame(frame).lazy()), groups=units)
    whole = measured(rows, ["blur"], ["cosine_similarity"], [1]).sample
    for limit in (450, 300):  # groups in memory, then as moments
        monkeypatch.setattr(sample, "IN_MEMORY", limit)
        found = measured(rows, ["blur"], ["cosine_similarity"], [1]).sample
        for name in ("group_count", "having", "counts", "mean", "variance", "images_having"):
            np.testing.assert_allclose(getattr(found, name), getattr(whole, name), rtol=1e-10, err_msg=name)
        assert found.image_means is None
        assert np.isnan(found.sd).all()
    assert whole.group_count == len(np.unique(units))


def test_groups_of_one_image_change_no_bit():
    alone = np.arange(len(UNITS))[::-1]
    pairs = [(estimates_from_values(values()), estimates_from_values(values()[::-1], alone))]
    flags = np.where(np.isnan(values()), np.nan, values() > 1)
    pairs.append((estimates_from_values(flags), estimates_from_values(flags[::-1], alone)))
    for single, grouped in pairs:
        for name in ("group_count", "mean", "variance", "having"):
            np.testing.assert_allclose(getattr(single, name), getattr(grouped, name), rtol=1e-14)
        for interval in (lambda part: mean_interval(part, seed=0), proportion_interval):
            np.testing.assert_allclose(interval(single), interval(grouped), rtol=1e-9)


def copies(array, times=3):
    return np.repeat(array, times, axis=0), np.repeat(np.arange(len(array)), times)


def test_copies_in_a_group_change_no_interval():
    repeated, units = copies(values())
    found = mean_interval(estimates_from_values(repeated, units), seed=1)
    np.testing.assert_allclose(found, mean_interval(estimates_from_values(values()), seed=1), rtol=1e-9)
    # With a variance that is estimated from groups, proportions have Student's t instead of the normal law.
    low, high = proportion_interval(estimates_from_values(repeated > 1, units))
    least, most = proportion_interval(estimates_from_values(values() > 1))
    assert (low <= least).all()
    assert (high >= most).all()
    assert (high - low < 1.2 * (most - least)).all()
    ends = bounded_interval(repeated, 0.0, 9.0, seed=1, groups=units)
    np.testing.assert_allclose(ends, bounded_interval(values(), 0.0, 9.0, seed=1), rtol=1e-9)
    above, below = np.nan_to_num(values()), np.abs(values(seed=1)[:, 0])
    found = ratio_interval([(copies(above)[0], copies(np.nan_to_num(below, nan=1.0))[0])], seed=1, groups=units)
    wanted = ratio_interval([(above, np.nan_to_num(below, nan=1.0))], seed=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_fewer_than_eight_groups_give_no_interval():
    units = UNITS % 7
    assert np.isnan(mean_interval(estimates_from_values(values(), units), seed=0)).all()
    assert np.isnan(proportion_interval(estimates_from_values(values() > 1, units))).all()


def vectors_of(vectors, units, kept=None):
    sizes = np.bincount(units)
    chosen = slice(0, kept)
    group = units[chosen].astype(float)
    return {"vectors": vectors[chosen], "group": group, "size": sizes[units[chosen]].astype(float)}


def mean_between_groups(vectors, units, kernel):
    """Of each pair of groups the mean over their pairs of images, then the mean over pairs of groups."""
    blocks = []
    for g, h in itertools.combinations(sorted(set(units.tolist())), 2):
        blocks.append(np.mean([kernel(a, b) for a in vectors[units == g] for b in vectors[units == h]]))
    return float(np.mean(blocks))


def cosine(a, b):
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def test_baselines_are_means_between_groups():
    vectors = np.random.default_rng(0).normal(0.4, 1.0, (len(UNITS), 5))
    sums = vectors_of(vectors, UNITS)
    for baseline, kernel in ((cosine_baseline, cosine), (distance_baseline, lambda a, b: float(np.linalg.norm(a - b)))):
        found = baseline(lambda name: sums if name == "vectors" else {}, len(UNITS))
        assert found.value == pytest.approx(mean_between_groups(vectors, UNITS, kernel), rel=1e-12)
        assert found.pairs is not None
        part = baseline(lambda name: vectors_of(vectors, UNITS, 10) if name == "vectors" else {}, len(UNITS))
        assert part.pairs is None
        assert part.value == pytest.approx(found.value, abs=0.5)


def test_copies_in_a_group_change_no_relative_shift():
    rng = np.random.default_rng(0)
    vectors, cosines = rng.normal(0.4, 1.0, (20, 5)), rng.uniform(0.7, 1.0, (20, 2))
    single = cosine_baseline({"vectors": {"vectors": vectors}, "normalised": {}}.__getitem__, 20)
    wanted = relative_shifts(gather([(cosines, np.ones((20, 2)))], chunks=[1] * 20), single, 1.0, seed=3)
    (repeated, units), ones = copies(cosines), np.ones((60, 2))
    grouped = cosine_baseline({"vectors": vectors_of(copies(vectors)[0], units), "normalised": {}}.__getitem__, 60)
    assert grouped.value == pytest.approx(single.value, rel=1e-12)
    found = relative_shifts(gather([(repeated, ones)], chunks=[3] * 20, groups=units), grouped, 1.0, seed=3)
    for name in ("value", "low", "high"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-9, err_msg=name)


def test_some_vectors_of_a_large_study_estimate_the_same_baseline():
    rng = np.random.default_rng(0)
    scenes = rng.normal(0.3, 1.0, (150, 16))
    units = rng.integers(0, 150, 3 * KEPT) // rng.integers(1, 4, 3 * KEPT)  # groups of unequal size
    units = np.unique(units, return_inverse=True)[1]
    vectors = scenes[units] + 0.3 * rng.normal(size=(len(units), 16))
    sums = vectors_of(vectors, units, KEPT)
    found = cosine_baseline({"vectors": sums}.__getitem__, len(units))
    shown = np.array([cosine(scenes[a], scenes[b]) for a, b in itertools.combinations(range(150), 2)])
    assert abs(found.value - shown.mean() / (1 + 0.09 / 1.09)) < 4 * found.error
    assert found.pairs is None


def test_near_duplicates_are_connected():
    rng = np.random.default_rng(0)
    photos = rng.normal(size=(700, 16))
    near = np.vstack([photos, photos[:50] + 0.01 * rng.normal(size=(50, 16)), photos[:1] * 2.0])
    labels = components(unit_float32(near), 0.99)
    assert len(np.unique(labels)) == 700
    assert np.array_equal(labels[700:750], labels[:50])
    assert labels[750] == labels[0]
    # A chain is one component, although its ends are far apart.
    angles = np.linspace(0, 3, 100)
    chain = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert (components(chain, 0.999) == 0).all()
    units = photos / np.linalg.norm(photos, axis=1, keepdims=True)
    cosines = units @ units.T
    assert mean_cosine(photos) == pytest.approx(cosines[np.triu_indices(700, 1)].mean(), abs=1e-12)


def test_the_mildest_change_that_moves_decides_what_is_near():
    assert near_cosine([0.7, 0.97, None, 1.0], 0.6) == 0.97
    assert near_cosine([0.7, 0.9999], 0.6) == pytest.approx(0.98)  # copies under any change of their own
    assert near_cosine([1.0], 0.6) == pytest.approx(0.98)
    assert near_cosine([0.5], 0.6) == pytest.approx(0.96)  # noise alone is not mild
