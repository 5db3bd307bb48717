"""Intervals against scipy's and slow loops; their coverage is measured by benchmarks/coverage.py."""

import numpy as np
import pytest
from scipy import optimize, stats

from embedshift.statistics import intervals, sample
from embedshift.statistics.baselines import Baseline, has_least, relative_shifts, widths
from embedshift.statistics.intervals import LEAST_IMAGES, difference_of_proportions, ratio_interval
from embedshift.statistics.sample import IN_MEMORY, RESAMPLES, estimates_from_values, gather, weights
from support.resampling import slow_bootstrap_t, slow_max_t


@pytest.mark.parametrize("kind", ["normal", "lognormal"])
def test_means_have_the_bootstrap_t(kind):
    values = getattr(np.random.default_rng(1), kind)(size=40)
    low, high = (end.item() for end in intervals.mean_interval(estimates_from_values(values[:, None]), seed=0))
    slow = slow_bootstrap_t(values, seed=3)
    # The ends of two sets of resamples differ by some per cent of the width.
    assert (low, high) == pytest.approx(slow, abs=0.08 * (slow[1] - slow[0]))
    percentile = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(0))
    if kind == "lognormal":  # where the two methods part
        assert high > percentile.confidence_interval.high + 0.1 * (slow[1] - slow[0])


def test_resamples_without_spread_allow_no_simultaneous_interval():
    rng = np.random.default_rng(0)
    for images in (8, 21, 400):
        drawn = rng.normal(size=(images, 60)) * np.linspace(1.0, 12.0, 60)
        drawn[rng.random(drawn.shape) < 0.03] = np.inf
        wanted = np.quantile(np.abs(drawn), 0.95, axis=0, method="higher") <= 10.0
        assert 0 < wanted.sum() < 60
        np.testing.assert_array_equal(intervals.bounded(drawn), wanted)


@pytest.mark.parametrize(("found", "of"), [(0, 50), (1, 50), (13, 50), (50, 50), (3, 8)])
def test_relative_shifts_of_one_draw_have_clopper_and_pearson_s_interval(found, of):
    values = np.zeros((of, 1))
    values[:found] = 1.0
    ends = [end.item() for end in intervals.proportion_interval(estimates_from_values(values))]
    wanted = stats.binomtest(found, of).proportion_ci(method="exact")
    assert ends == pytest.approx(list(wanted), abs=1e-9)


def test_proportions_of_several_draws_have_an_effective_number_between_images_and_views():
    rng = np.random.default_rng(0)

    def width(values):
        low, high = intervals.proportion_interval(gather([(values.sum(axis=1, keepdims=True), np.full((40, 1), 5.0))]))
        return (high - low).item()

    alike = np.repeat(rng.random((40, 1)) < 0.3, 5, axis=1).astype(float)
    alone = (rng.random((40, 5)) < 0.3).astype(float)
    images = stats.binomtest(int(alike[:, 0].sum()), 40).proportion_ci(method="exact")
    views = stats.binomtest(int(alone.sum()), 200).proportion_ci(method="exact")
    assert width(alike) >= 0.95 * (images.high - images.low), "draws that are all alike are one value"
    assert width(alone) == pytest.approx(views.high - views.low, rel=0.3)
    never = np.zeros((40, 5))
    assert width(never) == pytest.approx(stats.binomtest(0, 40).proportion_ci(method="exact").high, abs=1e-9)


def test_guards_count_images_that_have_a_value():
    values = np.random.default_rng(0).normal(size=(30, 2))
    values[LEAST_IMAGES - 1 :, 1] = np.nan
    for low, high in (
        intervals.mean_interval(estimates_from_values(values), seed=0),
        intervals.proportion_interval(estimates_from_values(values > 0)),
    ):
        assert np.isfinite(low[0])
        assert np.isfinite(high[0])
    low, high = intervals.mean_interval(estimates_from_values(values), seed=0)
    assert np.isnan(low[1])
    assert np.isnan(high[1])


def test_equal_values_have_an_interval_of_no_width_and_one_that_differs_has_no_upper_end():
    equal = intervals.mean_interval(estimates_from_values(np.full((20, 1), 0.1)), seed=0)
    assert [end.item() for end in equal] == pytest.approx([0.1, 0.1])
    lone = np.zeros((20, 1))
    lone[4] = 1.0
    # A third of the resamples miss it and have no spread: nothing says how far the mean may lie above.
    for bounds in ({}, {"low": 0.0, "high": 1.0}):
        assert np.isnan(intervals.mean_interval(estimates_from_values(lone), seed=0, **bounds)).all()


def test_one_number_without_a_bound_does_not_unsettle_the_others():
    """Of two that differ in one image alone a third of the resamples have no spread: max-T itself would be infinite."""
    rng = np.random.default_rng(0)
    values = rng.normal([3.0, 0.0, 2.0], 1.0, (30, 3))
    values[:, 1] = 0.0
    values[4, 1] = 1.0
    assert intervals.simultaneous_intervals(estimates_from_values(values), seed=0).significant.tolist() == [
        True,
        False,
        True,
    ]
    outlying = rng.normal([0.5, 0.0], [1.0, 0.01], (200, 2))
    outlying[3, 1] = 5.0
    assert intervals.simultaneous_intervals(estimates_from_values(outlying), seed=0).significant.tolist() == [
        True,
        False,
    ]


def test_a_number_that_few_images_have_is_resampled_over_these():
    values = np.full((100, 2), np.nan)
    values[:, 0] = np.arange(100.0)
    values[:12, 1] = np.random.default_rng(0).lognormal(size=12)
    found = [end[1] for end in intervals.mean_interval(estimates_from_values(values), seed=0)]
    alone = [end.item() for end in intervals.mean_interval(estimates_from_values(values[:12, 1:]), seed=0)]
    assert found == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("kind", ["normal", "lognormal"])
def test_several_means_relative_shift_the_critical_value_of_the_largest(kind):
    values = getattr(np.random.default_rng(3), kind)(size=(40, 6))
    values -= values.mean(axis=0)
    found = intervals.simultaneous_intervals(estimates_from_values(values), seed=0)
    error = values.std(axis=0, ddof=1) / np.sqrt(40)
    critical = (found.high - found.low) / 2 / error
    np.testing.assert_allclose(critical, critical[0], rtol=1e-9)
    assert critical[0] == pytest.approx(slow_max_t(values, seed=7), rel=0.08)
    assert not found.significant.any()


def test_what_never_varies_is_significant_only_where_it_differs():
    values = np.random.default_rng(0).normal(size=(20, 3))
    values[:, 1], values[:, 2] = 0.0, 0.4
    found = intervals.simultaneous_intervals(estimates_from_values(values), seed=0)
    assert found.significant.tolist() == [False, False, True]
    assert found.low[2] == found.high[2] == pytest.approx(0.4)


@pytest.mark.slow
def test_the_normal_law_agrees_with_the_bootstrap_where_it_takes_over():
    """At 5,000 images, of skewed values: the critical values of both differ by 2 % at most, and so do the ends."""
    values = np.random.default_rng(0).lognormal(size=(IN_MEMORY, 5))
    one = np.ones_like(values)
    inside = gather([(values, one)])
    above = gather([(values, one), (values[:1], one[:1])])
    assert inside.in_memory
    assert not above.in_memory
    weights = np.vstack([np.ones(4), -np.eye(4)])
    for of in (lambda s: s, lambda s: s.combine(weights)):
        both = [intervals.simultaneous_intervals(of(each), seed=1) for each in (inside, above)]
        widths = [each.high - each.low for each in both]
        np.testing.assert_allclose(widths[0], widths[1], rtol=0.03)
    ends = [intervals.mean_interval(each, seed=1) for each in (inside, above)]
    for side in (0, 1):
        np.testing.assert_allclose(ends[0][side], ends[1][side], rtol=0.01)


@pytest.mark.parametrize("parts", [2, 3, 9])
def test_the_jackknife_is_that_of_a_slow_loop(parts):
    """Of numbers that are no means, so that those without a part do not lie around the whole."""
    values = np.random.default_rng(parts).lognormal(size=(parts, 4))
    without = [np.delete(values, part, axis=0) for part in range(parts)]
    of = lambda some: np.stack([some.max(axis=0), (some**2).mean(axis=0)])  # noqa: E731
    found = intervals.jackknife_interval(of(values), map(of, without))
    for place in np.ndindex(2, 4):
        numbers = [of(each)[place] for each in without]
        middle = sum(numbers) / parts
        error = np.sqrt((parts - 1) / parts * sum((each - middle) ** 2 for each in numbers))
        margin = stats.t.ppf(0.975, parts - 1) * error
        ends = (found[0][place], found[1][place])
        assert ends == pytest.approx((of(values)[place] - margin, of(values)[place] + margin), rel=1e-9)


def test_the_jackknife_of_one_part_has_no_interval():
    for end in intervals.jackknife_interval(np.ones((2, 3)), [np.zeros((2, 3))]):
        assert end.shape == (2, 3)
        assert np.isnan(end).all()


def test_proportions_of_several_draws_count_as_many_values_as_they_are_worth():
    """By hand: p (1 - p) over the variance of the mean between images, for images whose draws hang together."""
    images, draws = 12, 3
    rng = np.random.default_rng(4)
    hits = (rng.random((images, draws)) < rng.choice([0.2, 0.8], (images, 1))).astype(float)
    low, high = intervals.proportion_interval(
        gather([(hits.sum(axis=1, keepdims=True), np.full((images, 1), float(draws)))])
    )
    p, of_images = hits.mean(), hits.mean(axis=1)
    worth = p * (1 - p) / (sum((each - p) ** 2 for each in of_images) / images**2)
    worth *= (stats.t.ppf(0.975, images * draws - 1) / stats.t.ppf(0.975, images - 1)) ** 2
    assert images < worth < images * draws, "neither bound hides it"
    assert low.item() == pytest.approx(stats.beta.ppf(0.025, p * worth, worth - p * worth + 1), rel=1e-9)
    assert high.item() == pytest.approx(stats.beta.ppf(0.975, p * worth + 1, worth - p * worth), rel=1e-9)


def slow_bounded(column, least, most):
    """Of the images that have a value: where seven at most are not the median, these lie at the bounds at worst."""
    present = column[~np.isnan(column)]
    usual, number = np.median(present), len(present)
    if (present != usual).sum() >= LEAST_IMAGES:
        ends = intervals.mean_interval(estimates_from_values(present[:, None]), seed=3, low=least, high=most)
        return [end.item() for end in ends]
    below, above = (stats.binomtest(int(side.sum()), number) for side in (present < usual, present > usual))
    low, high = (test.proportion_ci(method="exact").high for test in (below, above))
    return [usual - low * (usual - least), usual + high * (most - usual)]


def test_few_images_that_differ_lie_at_the_bounds_at_worst():
    values = np.full((40, 5), [0.25, 0.25, 0.25, 1.0, 0.5])
    values[:3, 0] = -0.5  # below alone
    values[:7, 1] = [-0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0]  # one fewer than the bootstrap takes
    values[:8, 2] = [-0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0]
    values[:, 4] = np.random.default_rng(0).normal(0.5, 0.3, 40)
    values[30:, [0, 3]] = np.nan  # of 30 images
    found = np.transpose(intervals.bounded_interval(values, -2.0, 3.0, seed=3))
    np.testing.assert_allclose(found, [slow_bounded(column, -2.0, 3.0) for column in values.T], rtol=1e-9)
    assert (found[:, 0] < found[:, 1]).all()
    assert intervals.bounded_interval(np.ones((12, 1)), 0.0, 1.0, seed=0)[1] == 1.0


def test_bounded_values_of_fewer_than_eight_images_have_no_interval():
    values = np.full((9, 2), np.nan)
    values[2:, 0] = np.arange(7.0)
    with np.errstate(all="raise"):
        assert np.isnan(intervals.bounded_interval(values, -9.0, 9.0, seed=0)).all()


def test_a_width_is_that_of_the_further_end_and_no_less_than_student_s():
    """As a fraction of the relative shift, which counts as a tenth where it is smaller."""
    baseline, limits = Baseline(0.4, 0.02), (-1.0, 1.0)
    values = 1 - np.random.default_rng(0).lognormal([-1.5, -4.0], [0.3, 1.2], (40, 2))
    estimates = estimates_from_values(values)
    value = (1 - values.mean(axis=0)) / 0.6
    assert value[1] < 0.1 < value[0]
    error = np.hypot(values.std(axis=0, ddof=1) / np.sqrt(40), value * baseline.error) / 0.6
    student = stats.t.ppf(0.975, 39) * error / [value[0], 0.1]
    shown = relative_shifts(estimates, baseline, 1.0, seed=5, limits=limits)
    further = np.maximum(shown.high - value, value - shown.low) / [value[0], 0.1]
    assert (further > student).any()
    for target, wanted in ((0.0, student), (student.min(), student), (9.0, np.maximum(student, further))):
        np.testing.assert_allclose(widths(estimates, baseline, 1.0, limits, seed=5, target=target), wanted, rtol=1e-9)
    exactly = widths(estimates, baseline, 1.0, limits, seed=5, target=0.0).max()
    found = widths(estimates, baseline, 1.0, limits, seed=5, target=exactly)
    np.testing.assert_allclose(found, np.maximum(student, further), rtol=1e-9)
    assert np.isnan(widths(estimates, Baseline(0.99, 0.1), 1.0, limits, seed=5, target=9.0)).tolist() == [True] * 2
    single = estimates_from_values(values[:1])
    assert np.isnan(widths(single, baseline, 1.0, limits, seed=5, target=9.0)).all()
    two = estimates_from_values(values[:2])
    assert np.isfinite(widths(two, baseline, 1.0, limits, seed=5, target=0.0)).all()


def test_few_or_skewed_images_are_not_enough(monkeypatch):
    rng = np.random.default_rng(0)
    even, skewed = rng.normal(0, 100.0, (300, 1)), rng.lognormal(0, 1.5, (300, 1))
    both = np.hstack([even, skewed])
    assert abs(stats.skew(even)[0]) < 1 < 2 < stats.skew(skewed[:100])[0]
    assert [has_least(estimates_from_values(even[:count]), count) for count in (63, 64)] == [False, True]
    assert [has_least(estimates_from_values(both[:count]), count) for count in (100, 255, 256)] == [False, False, True]
    assert has_least(estimates_from_values(-both[:256]), 256)
    assert not has_least(estimates_from_values(-both[:255]), 255)
    assert has_least(estimates_from_values(np.ones((64, 1))), 64)
    for values, least in ((even, 20), (both, 64)):
        for count in (least - 1, least):
            units = np.arange(300) % count
            assert has_least(estimates_from_values(values[units], units), 300) == (count == least)
    monkeypatch.setattr(sample, "IN_MEMORY", 50)
    many = gather([(both, np.ones_like(both))])
    assert not many.in_memory
    assert [has_least(many, images) for images in (63, 64)] == [False, True]


Z2 = stats.chi2.ppf(0.95, 1)


def score(gained, lost, number, difference):
    """The squared score statistic of a difference, with the most likely proportions under it found by search."""
    same = number - gained - lost
    least, most = max(0.0, -difference), (1 - difference) / 2

    def unlikely(q):
        proportions = np.array([q + difference, q, 1 - 2 * q - difference])
        counts = np.array([gained, lost, same])
        return -np.sum(counts[counts > 0] * np.log(np.maximum(proportions[counts > 0], 1e-300)))

    q = optimize.minimize_scalar(unlikely, bounds=(least, most), method="bounded", options={"xatol": 1e-12}).x
    variance = (2 * q + difference - difference**2) / number
    return ((gained - lost) / number - difference) ** 2 / variance


@pytest.mark.parametrize(
    "counts", [(12, 2, 50), (1, 7, 21), (0, 1, 200), (1, 1, 200), (3, 30, 200), (2.5, 0.5, 40), (0, 9, 10)]
)
def test_the_score_at_both_ends_is_that_of_95_percent(counts):
    low, high = difference_of_proportions(*counts)
    value = (counts[0] - counts[1]) / counts[2]
    assert -1 <= low < value < high <= 1
    for end in (low, high):
        assert score(*counts, end) == pytest.approx(Z2, rel=1e-4)
    for inside in np.linspace(low, high, 9)[1:-1]:
        assert score(*counts, inside) < Z2


def test_a_published_interval():
    """The data of Bentur et al. 2009 in Fagerland, Lydersen and Laake 2014, Statistics in Medicine 33: 2850-2875."""
    assert difference_of_proportions(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_it_has_a_width_where_nothing_differs():
    low, high = difference_of_proportions(0, 0, 200)
    assert high == -low == pytest.approx(Z2 / (200 + Z2))


@pytest.mark.parametrize("counts", [(5, 0, 5), (0, 5, 5)])
def test_it_ends_where_differences_end(counts):
    low, high = difference_of_proportions(*counts)
    assert max(-low, high) == 1.0
    assert low < high


def made(images, seed=0):
    """Two numerators and a skewed denominator."""
    rng = np.random.default_rng(seed)
    below = rng.lognormal(-3, 0.8, images)
    part = np.column_stack([rng.normal(0.4, 0.1, images), rng.normal(-0.1, 0.2, images)])
    return part * below[:, None], below


def test_against_a_loop_over_resamples():
    """Each resample written out image by image; its error from the residuals of the images in it."""
    above, below = made(25)
    value, low, high = ratio_interval([(above[:10], below[:10]), (above[10:], below[10:])], seed=3)

    def ratio_and_error(places):
        a, b, n = above[places], below[places], len(places)
        ratio = a.sum(axis=0) / b.sum()
        residuals = a - ratio * b[:, None]
        return ratio, np.sqrt(n / (n - 1) * (residuals**2).sum(axis=0)) / b.sum()

    whole, error = ratio_and_error(np.arange(25))
    deviations = []
    for drawn in np.vstack(list(weights(25, seed=3, resamples=RESAMPLES))):
        ratio, own = ratio_and_error(np.repeat(np.arange(25), drawn.astype(int)))
        deviations.append((ratio - whole) / own)
    np.testing.assert_allclose(value, whole, rtol=1e-12)
    above_, below_ = (np.quantile(deviations, q, axis=0, method=m) for q, m in ((0.975, "higher"), (0.025, "lower")))
    np.testing.assert_allclose(low, whole - above_ * error, rtol=1e-6)
    np.testing.assert_allclose(high, whole - below_ * error, rtol=1e-6)


def test_it_holds_the_true_ratio_where_denominators_are_skewed():
    held = np.zeros(2)
    for seed in range(150):
        _, low, high = ratio_interval([made(20, seed)], seed=seed)
        held += (low <= [0.4, -0.1]) & (high >= [0.4, -0.1])
    # 0.9 of 150 within two standard errors; the linear approximation alone holds about 0.8.
    assert (held / 150 > 0.88).all(), held / 150


def test_few_images_and_none_have_no_interval():
    above, below = made(20)
    above[7:], below[7:] = 0, 0
    value, *ends = ratio_interval([(above, below)], seed=0)
    np.testing.assert_allclose(value, above.sum(axis=0) / below.sum())
    assert np.isnan(ends).all(), "seven images have a denominator"
    assert np.isnan(ratio_interval([(0 * above, 0 * below)], seed=0)).all()


def test_equal_ratios_have_an_interval_without_width():
    below = made(20)[1]
    value, low, high = ratio_interval([(0.25 * below[:, None], below)], seed=0)
    np.testing.assert_allclose([value, low, high], 0.25, rtol=1e-12)


def test_more_images_than_are_kept_have_the_interval_of_the_normal_law(monkeypatch):
    above, below = made(3_000)
    plain = ratio_interval([(above, below)], seed=0)
    monkeypatch.setattr(sample, "IN_MEMORY", 1_000)
    parts = [(above[start : start + 500], below[start : start + 500]) for start in range(0, 3_000, 500)]
    found = ratio_interval(parts, seed=0)
    np.testing.assert_allclose(found[0], plain[0], rtol=1e-9)
    width = plain[2] - plain[1]
    np.testing.assert_allclose(found[1:], plain[1:], atol=0.1 * width.max())
