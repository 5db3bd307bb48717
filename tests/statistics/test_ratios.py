"""Ratios of sums over images, held against loops over resamples and against scipy's bootstrap."""

import numpy as np
import pytest
from scipy import stats

from embedshift.statistics import sample
from embedshift.statistics.intervals import ratio_interval
from embedshift.statistics.sample import RESAMPLES, weights


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


def test_against_the_bootstrap_of_scipy():
    above, below = made(200)
    _, low, high = ratio_interval([(above, below)], seed=0)
    for k in range(2):
        found = stats.bootstrap(
            (above[:, k], below), lambda a, b, axis: a.sum(axis) / b.sum(axis), paired=True, vectorized=True,
            method="BCa", rng=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
        assert (low[k], high[k]) == pytest.approx((found.low, found.high), abs=0.25 * (found.high - found.low))


def test_it_holds_the_true_ratio_where_denominators_are_skewed():
    held = np.zeros(2)
    for seed in range(150):
        _, low, high = ratio_interval([made(20, seed)], seed=seed)
        held += (low <= [0.4, -0.1]) & (high >= [0.4, -0.1])
    # 0.9 of 150 within two standard errors; the linear approximation alone holds about 0.8.
    assert (held / 150 > 0.88).all(), held / 150


def test_an_image_with_next_to_no_denominator_counts_next_to_nothing():
    above, below = made(20)
    plain = ratio_interval([(above, below)], seed=0)
    above[0], below[0] = 1e-9, 1e-12  # a ratio of 1,000
    np.testing.assert_allclose(ratio_interval([(above, below)], seed=0)[0], plain[0], atol=0.1)


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
