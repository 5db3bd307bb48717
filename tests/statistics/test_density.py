"""Density curves: scipy's away from bounds, and an area of 1 where the values pile up at one."""

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from embedshift.statistics.summary import density
from support import mirrored

RNG = np.random.default_rng(0)
PILED = {
    "near the high end": (1 - RNG.exponential(0.01, 500).clip(max=2), -1, 1),
    "half of them at the low end": (np.abs(RNG.normal(size=400)) * RNG.integers(0, 2, 400), 0, np.inf),
    "at both ends": (RNG.integers(0, 2, 60).astype(float), 0, 1),
    "two values, both at ends": (np.array([0.0, 1.0]), 0, 1),
    "evenly between both": (RNG.uniform(-1, 1, 300), -1, 1),
    "at a high end alone": (-RNG.exponential(3, 200), -np.inf, 0),
    "far from any": (RNG.normal(50, 1, 200), 0, 100),
}


@pytest.mark.parametrize("name", PILED)
def test_the_area_is_one(name):
    values, low, high = PILED[name]
    x, y = density(values, low, high)
    assert low <= x.min() <= x.max() <= high
    assert np.trapezoid(y, x) == pytest.approx(1, abs=1e-2)
    assert (y >= 0).all()


@pytest.mark.parametrize("bounds", [(), (0.0,), (0.0, 100.0), (-np.inf, 100.0)])
def test_it_is_scipy_s_away_from_bounds(bounds):
    values = RNG.normal(50, 1, 200)
    x, y = density(values, *bounds)
    np.testing.assert_allclose(y, gaussian_kde(values)(x), rtol=1e-9)


def test_at_a_bound_the_mirror_images_are_added():
    values = np.abs(RNG.normal(size=300))
    x, y = density(values, low=0.0)
    np.testing.assert_allclose(y, mirrored.density(values, x, 0.0), rtol=1e-9)
    assert y[0] > 0.6, "no dip at the bound, where a half-normal has its 0.8"


def test_there_is_none_of_one_value_or_of_equal_ones():
    assert density(np.array([0.5])) is None
    assert density(np.full(9, 0.5), 0, 1) is None


@pytest.mark.parametrize("times", [1e-6, 1e-3, 1e3, 1e6])
def test_the_unit_of_the_values_changes_the_unit_of_the_curve_alone(times):
    values = RNG.normal(2, 1, 200)
    x, y = density(values)
    other_x, other_y = density(times * values)
    np.testing.assert_allclose(other_x, times * x, rtol=1e-9)
    np.testing.assert_allclose(other_y, y / times, rtol=1e-6)


def test_values_that_differ_by_rounding_are_equal():
    assert density(1e6 + np.array([0.0, 1e-7, 2e-7])) is None
    assert density(1e-3 + np.array([0.0, 1e-8, 2e-8])) is not None
