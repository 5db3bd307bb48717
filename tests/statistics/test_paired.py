"""Outcomes of several changes in pairs: against loops, all signs one by one, and worlds in which nothing is gained."""

import functools
import itertools

import numpy as np
import pytest
from scipy import stats

from embedshift.statistics import paired
from embedshift.statistics.intervals import simultaneous_intervals
from embedshift.statistics.paired import critical_of_signs, discordance_growth, paired_gains
from embedshift.statistics.sample import estimates_from_values
from support.matrix import first_only
from support.tango import slow_tango

Z95 = stats.norm.ppf(0.975)


def found(images, augmentations, seed, chance=0.7):
    """Whether each image is found, 0 or 1, as likely under every augmentation, and alike image by image."""
    rng = np.random.default_rng(seed)
    return (rng.uniform(size=(images, augmentations)) + rng.normal(0, 0.3, (images, 1)) < chance).astype(float)


def pairs_of(outcomes):
    return np.stack([x - y for x, y in itertools.combinations(outcomes.T, 2)], axis=1)


def test_the_critical_value_is_that_of_all_signs():
    signs = np.array([*itertools.product((-1, 1), repeat=11)])
    for seed in range(4):
        sums = np.random.default_rng(seed).integers(-2, 3, (11, 6)).astype(float)
        sums[:, 5] = 0.0  # a pair that never differs has no statistic
        largest = np.abs(signs @ sums[:, :5] / np.sqrt((sums[:, :5] ** 2).sum(axis=0))).max(axis=1)
        z = critical_of_signs(sums, seed=seed)
        assert z > 2.2
        assert (largest > z + 1e-9).mean() - 0.007 <= 0.05 <= (largest >= z - 1e-9).mean() + 0.007
    for no_sum in (np.zeros((30, 3)), np.eye(30)[:, :1]):
        assert critical_of_signs(no_sum, seed=0) == pytest.approx(Z95, abs=1e-12), "no less than of one number"


def test_of_many_images_the_critical_value_is_that_of_normal_numbers(monkeypatch):
    sums = pairs_of(found(400, 5, seed=2))
    drawn = critical_of_signs(sums, seed=0)
    monkeypatch.setattr(paired, "IN_MEMORY", 399)
    together = np.random.default_rng(5).multivariate_normal(np.zeros(10), np.corrcoef(sums.T), 20_000)
    for wanted in (drawn, np.quantile(np.abs(together).max(axis=1), 0.95)):
        assert critical_of_signs(sums, seed=0) == pytest.approx(wanted, rel=0.03)


@pytest.mark.parametrize("draws", [1, 3])
def test_gains_are_those_of_a_loop_and_their_ends_tango_s(draws):
    outcomes = np.mean([found(40, 3, seed) for seed in range(draws)], axis=0)
    outcomes[:20, 2] = 0.0
    outcomes[[1, 5, 30], [0, 1, 1]] = np.nan
    gains = paired_gains(outcomes, seed=4)
    for column, (a, b) in enumerate(itertools.combinations(range(3), 2)):
        pairs = [(x, y) for x, y in outcomes[:, [a, b]] if not np.isnan(x + y)]
        n, gained, lost = len(pairs), sum(max(x - y, 0) for x, y in pairs), sum(max(y - x, 0) for x, y in pairs)
        assert (gains.number[column], n) == (n, 40 - np.isnan(outcomes[:, [a, b]]).sum())
        assert (gains.gained[column], gains.lost[column]) == pytest.approx((gained / n, lost / n), abs=1e-12)
        wanted = slow_tango(gained, lost, n, gains.critical)
        assert (gains.intervals.low[column], gains.intervals.high[column]) == pytest.approx(wanted, abs=1e-10)
        assert gains.intervals.significant[column] == (abs(gained - lost) > gains.critical * (gained + lost) ** 0.5)
    assert gains.intervals.significant.tolist() == [False, True, True]
    assert gains.critical == critical_of_signs(np.nan_to_num(pairs_of(outcomes)), seed=4)


def test_a_statistic_that_equals_the_critical_value_is_not_above_it():
    few = np.zeros((40, 2))
    for count in (4, 5):  # two of 16 signs, or of 32, are as far
        few[:count, 0] = 1.0
        gains = paired_gains(few, seed=0)
        assert gains.critical == pytest.approx(count**0.5)
        assert gains.intervals.low[0] <= 0 < gains.intervals.high[0]
        assert not gains.intervals.significant[0]
    few[:6, 0] = 1.0  # two of 64
    assert paired_gains(few, seed=0).intervals.significant[0]


def test_groups_are_never_narrower_than_as_many_images():
    groups, outcomes = np.arange(60) // 3, found(60, 3, seed=8)
    gains, resampled = (
        paired_gains(outcomes, groups, seed=5),
        simultaneous_intervals(estimates_from_values(pairs_of(outcomes), groups), seed=5),
    )
    for column in range(3):
        low, high = slow_tango(gains.gained[column] * 20, gains.lost[column] * 20, 20, gains.critical)
        assert gains.intervals.low[column] == pytest.approx(min(low, resampled.low[column]), abs=1e-9)
        assert gains.intervals.high[column] == pytest.approx(max(high, resampled.high[column]), abs=1e-9)
    alone, copies = paired_gains(outcomes, seed=0), paired_gains(np.tile(outcomes, (4, 1)), np.arange(240) % 60, seed=0)
    assert (copies.critical, copies.number.tolist()) == (alone.critical, [60] * 3)
    assert (copies.intervals.high - copies.intervals.low >= alone.intervals.high - alone.intervals.low - 1e-12).all()


def test_too_few_images_have_no_interval_and_unsettle_no_other_pair():
    outcomes = found(30, 4, seed=1)
    outcomes[7:, 3] = np.nan
    gains, alone = paired_gains(outcomes, seed=0), paired_gains(outcomes[:, :3], seed=0)
    is_few = np.array([3 in pair for pair in itertools.combinations(range(4), 2)])
    assert np.isnan(gains.intervals.low[is_few]).all()
    assert not gains.intervals.significant[is_few].any()
    assert np.isfinite(gains.intervals.high[~is_few]).all()
    np.testing.assert_allclose(gains.difference[~is_few], alone.difference)
    assert len(paired_gains(outcomes[:, :1], seed=0).difference) == 0
    assert paired_gains(np.tile([1.0, 0.0], (8, 1)), seed=0).intervals.significant.tolist() == [True]


SIZES = {"one large group": [100] + [1] * 20, "images": [1] * 40, "groups": [4] * 40}


@pytest.mark.slow
@pytest.mark.parametrize("sizes", first_only(SIZES.values()), ids=[*SIZES])
def test_where_nothing_is_gained_one_family_in_twenty_says_otherwise(monkeypatch, sizes):
    monkeypatch.setattr(paired, "RESAMPLES_OF_MANY", 999)
    monkeypatch.setattr(paired, "simultaneous_intervals", functools.partial(simultaneous_intervals, resamples=999))
    groups, said = np.repeat(np.arange(len(sizes)), sizes), 0
    for seed in range(300):
        outcomes = found(len(sizes), 4, seed, 0.8)[groups]
        said += paired_gains(outcomes, groups if max(sizes) > 1 else None, seed=seed).intervals.significant.any()
    assert said <= 15 + 3 * (300 * 0.05 * 0.95) ** 0.5


def test_discordance_grows_as_from_half_of_the_gallery():
    rng = np.random.default_rng(0)
    first, second = (rng.choice([1, 1, 1, 2, 3, 9], (200, 1)).astype(float) for _ in range(2))
    first[7] = np.nan
    kept = [np.delete(ranks, 7) - 1 for ranks in (first, second)]
    half = np.mean(
        [np.not_equal(*(rng.binomial(better.astype(int), 0.5) == 0 for better in kept)).sum() for _ in range(3_000)]
    )
    wanted = np.log2(np.not_equal(kept[0] == 0, kept[1] == 0).sum() / half)
    assert discordance_growth(first, second) == pytest.approx(max(0.0, wanted), abs=0.01)
    assert discordance_growth(first * 0 + 1, first * 0 + 1) == 0.0
