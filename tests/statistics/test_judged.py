"""A judged alternative: against loops, Tango's equation and one-sided tests of SciPy; and a split that holds out."""

import itertools

import numpy as np
import pytest
from scipy import stats

from embedshift.statistics.intervals import mean_interval
from embedshift.statistics.judged import ONE_SIDED, Outcomes, Split, decide, judge, verdict
from embedshift.statistics.sample import estimates_from_values
from support.matrix import first_only
from support.tango import slow_tango

Z95, Z90 = stats.norm.ppf([0.975, 0.95])


def found(images, draws=1, seed=0, chance=0.7):
    """Whether each view finds its original, under three augmentations alike image by image."""
    rng = np.random.default_rng(seed)
    return (rng.uniform(size=(images, draws, 3)) + rng.normal(0, 0.3, (images, 1, 1)) < chance).astype(float)


def ends_of(judged, **settings):
    return np.array(judged.interval(**settings)).T


@pytest.mark.parametrize("draws", [1, 2])
def test_every_number_is_that_of_a_loop(draws):
    before, after = found(40, draws, seed=1), found(40, draws, seed=2)
    before[3, 0, 1] = after[5, :, 0] = np.nan
    judged = judge(Outcomes(before), Outcomes(after), seed=0, included=np.array([True, True, False]))
    for a in range(3):
        views = [(i, d) for i in range(40) for d in range(draws) if not np.isnan(before[i, d, a] + after[i, d, a])]
        images = {i for i, _ in views}
        gains = [np.mean([after[j, d, a] - before[j, d, a] for j, d in views if j == i]) for i in images]
        gained, lost = sum(max(gain, 0) for gain in gains), sum(max(-gain, 0) for gain in gains)
        assert (judged.n[a], judged.number[a]) == (len(views), len(images))
        assert judged.baseline[a] == pytest.approx(np.mean([before[i, d, a] for i, d in views]), abs=1e-12)
        assert judged.value[a] == pytest.approx(np.mean([after[i, d, a] for i, d in views]), abs=1e-12)
        assert judged.difference[a] == pytest.approx(np.mean(gains), abs=1e-12)
        assert ends_of(judged)[a] == pytest.approx(slow_tango(gained, lost, len(images), Z95), abs=1e-9)
        wanted = slow_tango(3 * gained, 3 * lost, 3 * len(images), Z90)
        assert ends_of(judged, level=ONE_SIDED, images=120)[a] == pytest.approx(wanted, abs=1e-9), "thrice as many"
    assert judged.n[3] == judged.n[:2].sum()
    assert judged.difference[3] == pytest.approx(judged.difference[:2].mean(), abs=1e-12)
    assert ends_of(judged.only(-1)).tolist() == [ends_of(judged)[3].tolist()]


def test_p_values_are_those_of_the_exact_sign_test_and_of_student():
    for gained, lost in ((0, 4), (0, 6), (3, 15), (9, 9), (12, 2), (0, 0)):
        gains = np.array([1.0] * gained + [-1.0] * lost + [0.0] * (40 - gained - lost))[:, None, None]
        alone = judge(Outcomes(np.zeros_like(gains)), Outcomes(gains), seed=0)
        wanted = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        assert alone.p_values()[0] == pytest.approx(wanted, abs=1e-12)
    groups = np.arange(40) // 4
    gains[:, 0, 0] = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], 40, p=[0.5, 0.3, 0.2])
    grouped = judge(Outcomes(np.zeros_like(gains)), Outcomes(gains), groups, seed=0)
    student = stats.ttest_1samp(gains[:, 0, 0].reshape(10, 4).mean(axis=1), 0).pvalue
    assert grouped.p_values()[0] >= student * (1 - 1e-9)
    few = judge(Outcomes(np.zeros((7, 1, 1))), Outcomes(-np.ones((7, 1, 1))), seed=0)
    assert few.p_values().tolist() == [1.0, 1.0]


def test_a_margin_is_kept_worse_broken_or_open():
    for low, high, margin, wanted in (
        (-0.01, 0.2, 0.01, "within"),
        (-0.009, -0.002, 0.01, "within"),
        (-0.02, 0.01, 0.01, "undecided"),
        (-0.02, -0.002, 0.01, "worse"),
        (-0.03, -0.02, 0.01, "beyond"),
        (0.01, 0.02, -0.03, "beyond"),
        (np.nan, np.nan, 0.01, "undecided"),
    ):
        assert decide((low, high), margin) == wanted


def test_over_augmentations_as_many_images_count_as_have_the_same_error():
    before, after = found(50, seed=3), found(50, seed=4, chance=0.8)
    judged, gain = judge(Outcomes(before), Outcomes(after), seed=0), (after - before)[:, 0]
    alike = (np.mean(gain**2) - np.mean(gain) ** 2) / (gain.mean(axis=1).var(ddof=1) / 50)
    assert 50 < alike < 150
    number = alike * (Z95 / stats.t.ppf(0.975, 49)) ** 2
    assert judged.number[3] == pytest.approx(number, rel=1e-10)
    wanted = slow_tango((gain > 0).mean() * number, (gain < 0).mean() * number, number, Z95)
    assert ends_of(judged)[3] == pytest.approx(wanted, abs=1e-9)
    same = ends_of(judge(Outcomes(before), Outcomes(before), seed=0))
    np.testing.assert_allclose(same[:, 1], Z95**2 / (50 + Z95**2), atol=1e-9)


def test_groups_are_never_narrower_than_as_many_images():
    before, after = (np.repeat(found(30, seed=seed, chance=0.9), 3, axis=0) for seed in (5, 6))
    groups, wider = np.arange(90) // 3, set()
    judged = judge(Outcomes(before), Outcomes(after), groups, seed=0)
    drawn = np.array(mean_interval(estimates_from_values((after - before)[:, 0], groups), seed=0, low=-1, high=1))
    assert judged.groups == 30
    for a in range(3):
        low, high = slow_tango(judged.gained[a] * 30, judged.lost[a] * 30, 30, Z95)
        assert ends_of(judged)[a] == pytest.approx((min(low, drawn[0, a]), max(high, drawn[1, a])), abs=1e-9)
        wider |= {drawn[0, a] < low, drawn[1, a] > high}
    assert wider == {True, False}


def test_an_augmentation_without_outcomes_unsettles_no_other():
    before, after = found(40), found(40, seed=1)
    alone = judge(Outcomes(before[..., :2]), Outcomes(after[..., :2]), seed=0)
    after[:, :, 2] = np.nan
    judged = judge(Outcomes(before), Outcomes(after), seed=0)
    np.testing.assert_allclose(judged.difference[[0, 1, 3]], alone.difference, atol=1e-12)
    assert np.isnan(judged.difference[2])
    for count in (7, 8):
        few = judge(Outcomes(before[:count]), Outcomes(found(40, seed=2)[:count]), seed=0)
        assert np.isfinite(ends_of(few)).all() == (count == 8), "too few have no interval"


@pytest.mark.slow
@pytest.mark.parametrize("sizes", first_only([[8] * 5 + [1] * 40, [5] * 30]), ids=["unequal", "equal"])
def test_where_groups_gain_nothing_one_in_twenty_says_otherwise(sizes):
    groups, said = np.repeat(np.arange(len(sizes)), sizes), 0
    for seed in range(200):
        gain = np.random.default_rng(seed).choice([-1, 0, 1], len(sizes), p=[0.15, 0.7, 0.15])[groups, None, None]
        low, high = judge(Outcomes((gain < 0) * 1.0), Outcomes((gain > 0) * 1.0), groups, seed=0).interval()
        said += low[0] > 0 or high[0] < 0
    assert said <= 10 + 3 * (200 * 0.05 * 0.95) ** 0.5


def test_a_verdict_is_that_of_two_one_sided_tests():
    rng, said, margin = np.random.default_rng(0), set(), 0.1
    for _ in range(120):
        values = rng.normal(rng.choice([-0.15, -0.02, 0.0, 0.15]), 0.3, rng.choice([20, 200]))
        low, high = stats.t.interval(0.9, len(values) - 1, values.mean(), stats.sem(values))
        above, below, over, under = (
            stats.ttest_1samp(values, bound, alternative=side).pvalue < 0.05
            for bound, side in itertools.product((-margin, margin), ("greater", "less"))
        )
        for gains_count in (True, False):
            refused, kept = below or (gains_count and over), above and not gains_count
            wanted = "not equivalent" if refused else "not worse" if kept else "undecided"
            said.add(wanted := "equivalent" if above and under else wanted)
            assert verdict(low, high, margin, gains_count=gains_count) == wanted
    assert said == {"equivalent", "not equivalent", "not worse", "undecided"}


def test_a_split_holds_out_images_groups_and_changes():
    families = {"crop@1": "crop", "crop@2": "crop", "blur": "blur"}
    for count in range(1, 12):
        groups = np.arange(3 * count) % count
        split = Split.of(groups, families)
        held_out = [{*groups[fold]} for fold in split.judged()]
        assert sorted(itertools.chain(*held_out)) == [*range(count)]
        assert split.is_possible == (count >= 4) == (len(held_out) > 1)
        assert not split.is_possible or min(map(len, held_out)) >= 2
    assert [*split.changes()] == [(["crop@1", "crop@2"], ["blur"]), (["blur"], ["crop@1", "crop@2"])]
    assert [*Split.of(np.arange(9), {"a": "x", "b": "x"}).changes()] == []
