"""Ratios of relative shifts: against a jackknife that computes everything again without each unit."""

import numpy as np
import pytest
from scipy import stats

from embedshift.statistics import shift_ratios
from embedshift.statistics.baselines import Baseline, cosine_baseline, cosine_pairs
from embedshift.statistics.intervals import simultaneous_intervals

IMAGES, AUGMENTATIONS, DRAWS = 12, 3, 2


def encoder(seed, images=IMAGES):
    """Unit vectors of originals, and distances of views, one of which is missing."""
    rng = np.random.default_rng(seed)
    originals = rng.normal(size=(images, 5)) + 1
    originals /= np.linalg.norm(originals, axis=1, keepdims=True)
    distances = rng.lognormal(-2, 0.5, (images, AUGMENTATIONS, DRAWS))
    distances[2, 1, 0] = np.nan
    distances[4, 2] = 0.0  # did not move
    return originals, distances


def shifts(originals, distances, units=None):
    vectors = {"vectors": originals}
    if units is not None:
        sizes = np.bincount(units)[units]
        vectors |= {"group": units.astype(float), "size": sizes.astype(float)}
    baseline = cosine_baseline({"vectors": vectors}.__getitem__, len(originals))
    return shift_ratios.shifts(distances, baseline, shift_ratios.jackknife_deviations(baseline))


def slow_baseline(originals, images, units):
    """1 - mean cosine of pairs of different units, in which each unit counts once, by loops."""
    total, weight = 0.0, 0.0
    for i in images:
        for j in images:
            if units[i] != units[j]:
                w = 1 / (units == units[i]).sum() / (units == units[j]).sum()
                total, weight = total + w * originals[i] @ originals[j], weight + w
    return 1 - total / weight


def slow_log_ratios(sides, images, units):
    scales = [slow_baseline(originals, images, units) for originals, _ in sides]
    logs = []
    for a in range(AUGMENTATIONS):
        values = []
        for i in images:
            for d in range(DRAWS):
                both = [distances[i, a, d] / scale for (_, distances), scale in zip(sides, scales, strict=True)]
                if not np.isnan(both).any():
                    values.append(np.log(both[1] + 1e-6) - np.log(both[0] + 1e-6))
        logs.append(np.mean(values))
    return np.array(logs)


def slow_jackknife(sides, units):
    """Values, and standard errors of the jackknife by computing everything again."""
    images = np.arange(len(units))
    without = np.array([slow_log_ratios(sides, images[units != unit], units) for unit in np.unique(units)])
    count = len(without)
    spread = (count - 1) / count * np.square(without - without.mean(axis=0)).sum(axis=0)
    return slow_log_ratios(sides, images, units), np.sqrt(spread)


@pytest.mark.parametrize("grouped", [False, True], ids=["images", "groups"])
def test_ratios_and_errors_equal_a_jackknife_that_leaves_out_each_unit(grouped):
    images = 24 if grouped else IMAGES
    units = np.tile(np.arange(IMAGES), 2) if grouped else np.arange(IMAGES)
    sides = [encoder(seed, images) for seed in (0, 1)]
    given = units if grouped else None
    sample = shift_ratios.log_ratios(*(shifts(*side, given) for side in sides), given)
    value, error = slow_jackknife(sides, units)
    np.testing.assert_allclose(sample.mean, value, rtol=1e-9)
    assert sample.group_count == IMAGES
    assert sample.error[0] == pytest.approx(error[0], rel=2e-4)
    # Linear where a view is missing, or one has not moved.
    np.testing.assert_allclose(sample.error, error, rtol=0.02)


def test_the_interval_over_augmentations_is_students():
    sides = [encoder(seed) for seed in (2, 3)]
    sample = shift_ratios.log_ratios(*(shifts(*side) for side in sides))
    overall = shift_ratios.over_augmentations(sample, np.array([True, False, True]))
    low, high = shift_ratios.t_interval(overall)
    images = np.arange(IMAGES)
    without = [slow_log_ratios(sides, images[images != i], images)[[0, 2]].mean() for i in images]
    error = np.sqrt((IMAGES - 1) / IMAGES * np.square(np.array(without) - np.mean(without)).sum())
    value = slow_log_ratios(sides, images, images)[[0, 2]].mean()
    expected = stats.t.interval(0.95, IMAGES - 1, loc=value, scale=error)
    np.testing.assert_allclose([low.item(), high.item()], expected, rtol=0.01)
    assert np.isnan(shift_ratios.over_augmentations(sample, np.zeros(3, bool)).mean).all()


def test_differences_equal_a_jackknife_that_leaves_out_each_image():
    sides = [encoder(seed) for seed in (4, 5)]
    found = shift_ratios.shift_differences(*(shifts(*side) for side in sides))
    images = np.arange(IMAGES)

    def difference(chosen):
        own = [np.nanmean(d[chosen], axis=(0, 2)) / slow_baseline(o, chosen, images) for o, d in sides]
        return (own[1] - own[0])[[0, 2]]  # without the augmentation of which a view is missing in both

    without = np.array([difference(images[images != i]) for i in images])
    error = np.sqrt((IMAGES - 1) / IMAGES * np.square(without - without.mean(axis=0)).sum(axis=0))
    np.testing.assert_allclose(found.mean[[0, 2]], difference(images), rtol=1e-9)
    np.testing.assert_allclose(found.error[[0, 2]], error, rtol=0.05)


def test_an_encoder_against_itself_has_a_ratio_of_exactly_1():
    own = shifts(*encoder(6))
    sample = shift_ratios.log_ratios(own, own)
    ends = simultaneous_intervals(sample, seed=0)
    for numbers in (sample.mean, *shift_ratios.t_interval(sample), ends.low, ends.high):
        assert np.exp(numbers).tolist() == [1.0] * AUGMENTATIONS
    assert shift_ratios.shift_differences(own, own).mean.tolist() == [0.0] * AUGMENTATIONS


def test_views_that_move_by_rounding_decide_nothing():
    """A tenth augmentation with 60 % of its views at rounding; a true ratio of 1.2 elsewhere stays."""
    rng = np.random.default_rng(7)
    originals, _ = encoder(7)
    moved = rng.lognormal(-2, 0.5, (IMAGES, AUGMENTATIONS, 1))
    sides = [moved, 1.2 * moved]
    for side, rounding in zip(sides, (1e-16, 4e-14), strict=True):
        side[:, 2] = rounding
    ratio = np.exp(shift_ratios.log_ratios(*(shifts(originals, side) for side in sides)).mean)
    assert ratio == pytest.approx([1.2, 1.2, 1.0], abs=1e-4)


def test_chunks_of_images_are_left_out_together():
    originals, _ = encoder(8, 40)
    sums = originals.reshape(8, 5, 5).sum(axis=1)
    baseline = cosine_pairs(sums, np.full(8, 5.0), np.full(8, 5.0)).baseline()
    one, kept = np.arange(40), []
    for chunk in range(8):
        left = one[one // 5 != chunk]
        kept.append(np.mean([originals[i] @ originals[j] for i in left for j in left if i != j]))
    np.testing.assert_allclose(baseline.pairs.without_each(), kept, rtol=1e-12)


def test_a_baseline_without_pairs_adds_its_error():
    off = shift_ratios.normal_deviations(Baseline(0.6, 0.02), 50, (0, 1))
    assert off.mean() == pytest.approx(0, abs=1e-12)
    assert off.std(ddof=1) / np.sqrt(50) == pytest.approx(0.02 / 0.4)


def test_a_tail_has_the_error_of_both_baselines():
    """Against a jackknife that computes the baselines again without each image; the views' own part by hand."""
    sides = [encoder(seed) for seed in (1, 2)]
    sample = shift_ratios.tail_differences(*(shifts(*side) for side in sides))
    units = np.arange(IMAGES)
    scales = [slow_baseline(originals, range(IMAGES), units) for originals, _ in sides]
    with np.errstate(divide="ignore"):
        logs = np.diff([np.log(away / scale + 1e-6) for (_, away), scale in zip(sides, scales, strict=True)], axis=0)[0]
    far = np.where(np.isnan(logs), np.nan, (logs > np.log(2)) * 1.0 - (logs < -np.log(2)))
    near = np.where(np.isnan(logs), np.nan, (np.abs(logs) > 0.5 * np.log(2)) & (np.abs(logs) < 1.5 * np.log(2)))
    off = []
    for left_out in range(IMAGES):
        rest = [image for image in range(IMAGES) if image != left_out]
        without = [slow_baseline(originals, rest, units) for originals, _ in sides]
        off.append((IMAGES - 1) * (np.log(scales[0] / without[0]) - np.log(scales[1] / without[1])))
    for a in range(AUGMENTATIONS):
        present = ~np.isnan(far[:, a])
        mean = np.nanmean(far[:, a])
        own = mean + (np.nansum(far[:, a], axis=1) - mean * present.sum(axis=1)) * IMAGES / present.sum()
        values = own + (np.array(off) - np.mean(off)) * np.nanmean(near[:, a]) / np.log(2)
        assert sample.mean[a] == pytest.approx(mean)
        assert sample.error[a] == pytest.approx(values.std(ddof=1) / IMAGES**0.5)


@pytest.mark.slow
def test_tails_of_encoders_that_do_not_differ_are_told_apart_as_seldom_as_they_say():
    """By Student's law in 5 % of 400 studies; without the error of the baselines in more."""
    found = np.zeros(2)
    for seed in range(400):
        rng, sides = np.random.default_rng(seed), []
        lengths = np.exp(rng.normal(size=(24, 1)) / 2)
        for _ in range(2):
            originals = rng.normal(size=(24, 8)) * np.linspace(0.3, 2, 8) + 1
            originals /= np.linalg.norm(originals, axis=1, keepdims=True)
            sides.append(shifts(originals, (lengths * np.exp(0.4 * rng.normal(size=(24, 9))))[..., None] / 50))
        still = [shift_ratios.Shifts(side.relative, 0 * side.off) for side in sides]
        for way, pair in enumerate((sides, still)):
            sample = shift_ratios.tail_differences(*pair)
            low, high = shift_ratios.t_interval(shift_ratios.over_augmentations(sample, np.ones(9, bool)))
            found[way] += low.item() > 0 or high.item() < 0
    rates = [stats.binomtest(int(number), 400).proportion_ci() for number in found]
    assert rates[0].low <= 0.05 < rates[1].low
