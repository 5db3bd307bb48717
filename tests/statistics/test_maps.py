"""Attention maps against OpenCV, scipy and slow loops, map by map."""

import cv2
import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import pearsonr

from embedshift.statistics import maps
from embedshift.statistics.maps import LEAST_OVERLAP, correlation

GRIDS = [(7, 5), (1, 3), (3, 1), (2, 2), (4, 4)]
SIZE = 12
RNG = np.random.default_rng(0)


def stack(grid, *shape):
    return np.random.default_rng(grid[0] * 10 + grid[1]).exponential(size=(*shape, *grid))


def slow_scaled(attention, size):
    """One map after the other: OpenCV's upsampling, then the span brought to 1."""
    found = np.zeros((*attention.shape[:-2], size, size))
    for place in np.ndindex(attention.shape[:-2]):
        if np.ptp(attention[place]) > 0:
            large = cv2.resize(attention[place], (size, size), interpolation=cv2.INTER_LINEAR)
            found[place] = (large - large.min()) / (large.max() - large.min())
    return found


@pytest.mark.parametrize("grid", GRIDS)
def test_upsampling_is_opencv_s(grid):
    attention = stack(grid, 3)
    wanted = [cv2.resize(each, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR) for each in attention]
    np.testing.assert_allclose(maps.upsample(attention, SIZE), wanted, atol=1e-6)


@pytest.mark.parametrize("grid", GRIDS)
def test_each_map_is_scaled_for_itself(grid):
    attention = stack(grid, 2, 3) * [[[[1.0]], [[50.0]], [[1e-6]]]]
    np.testing.assert_allclose(maps.scaled_map(attention, SIZE), slow_scaled(attention, SIZE), atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, -0.3, 1e9])
def test_a_constant_map_is_zeros_and_like_any_other(value):
    constant = np.full((2, 7, 5), value)
    assert (maps.scaled_map(constant, SIZE) == 0).all()
    assert (maps.map_likeness(constant, constant + 1, SIZE) == 1).all()


def test_a_map_that_spans_no_more_than_rounding_is_a_constant():
    rounded = 1e15 * (1 + 1e-13 * stack((4, 4)) / stack((4, 4)).max())
    assert np.ptp(rounded) > 50
    assert (maps.scaled_map(rounded, SIZE) == 0).all()
    assert maps.map_likeness(rounded, np.zeros((4, 4)), SIZE) == 1


def test_a_map_of_tiny_differences_is_no_constant():
    attention = 100 + 1e-7 * stack((4, 4))
    scaled = maps.scaled_map(attention, SIZE)
    assert (scaled.min(), scaled.max()) == (0, 1)
    np.testing.assert_allclose(
        maps.map_likeness(attention, np.ones((4, 4)), SIZE), 1 / (1 + (scaled**2).mean()), atol=1e-6
    )


@pytest.mark.parametrize("grid", GRIDS)
def test_likeness_of_maps_is_that_of_the_large_ones(grid):
    a, b = stack(grid, 4), stack(grid[::-1], 4).swapaxes(1, 2)
    wanted = [1 / (1 + np.mean((x - y) ** 2)) for x, y in zip(slow_scaled(a, 12), slow_scaled(b, 12), strict=True)]
    np.testing.assert_allclose(maps.map_likeness(a, b, 12), wanted, atol=1e-6)


def test_only_pixels_that_count_are_scaled_and_compared():
    rng = np.random.default_rng(5)
    values, others, where = rng.normal(size=(3, 6, 6)), rng.normal(size=(3, 6, 6)), rng.random((3, 6, 6)) < 0.6
    least = np.zeros((3, 1, 1))
    least[1] = 100
    scaled, alike = maps.min_max(values, where, least), maps.likeness(values, others, where)
    for number in range(3):
        counted = values[number][where[number]]
        span = np.inf if number == 1 else counted.max() - counted.min()
        np.testing.assert_allclose(scaled[number], (values[number] - counted.min()) / span, rtol=1e-12)
        mean = np.mean((counted - others[number][where[number]]) ** 2)
        assert alike[number] == pytest.approx(1 / (1 + mean), rel=1e-12)


def test_a_map_that_counts_nowhere_has_no_value():
    nowhere = np.zeros((1, 3, 3), bool)
    with np.errstate(all="raise"):
        assert np.isnan(maps.likeness(np.ones((1, 3, 3)), np.zeros((1, 3, 3)), nowhere)).all()


def test_entropy_is_the_sum_over_patches():
    attention = stack((3, 4), 2)
    for map_, found in zip(attention, maps.attention_entropy(attention), strict=True):
        fractions = map_.ravel() / map_.sum()
        assert found == pytest.approx(-sum(fraction * np.log(fraction) for fraction in fractions), rel=1e-12)
    assert maps.attention_entropy(np.ones((5, 2))).item() == pytest.approx(np.log(10))
    assert maps.attention_entropy([[0.0, 2.0]]) == 0
    assert np.isnan(maps.attention_entropy(np.zeros((5, 2))))


def test_a_faint_map_is_no_constant_beside_a_strong_one():
    faint, strong = stack((4, 4), 2) * [[[1e-9]], [[1e9]]]
    both = maps.map_likeness(np.stack([faint, strong]), np.ones((2, 4, 4)), SIZE)
    assert both.tolist() == [maps.map_likeness(each, np.ones((4, 4)), SIZE).item() for each in (faint, strong)]
    assert both[0] < 1


def test_correlation_is_that_of_scipy():
    a, b = RNG.normal(size=(5, 4, 6)), RNG.normal(size=(5, 4, 6)) + 3
    found = correlation(a, 0.5 * a + b)
    assert found.shape == (5,)
    wanted = [pearsonr(x.ravel(), (0.5 * x + y).ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert np.ptp(wanted) > 0.1


def test_correlation_looks_only_where_both_maps_are():
    a, b = RNG.normal(size=(2, 8, 8))
    a[:, 5:] = np.nan
    b[0, 0] = np.nan
    there = ~(np.isnan(a) | np.isnan(b))
    assert correlation(a, b).item() == pytest.approx(pearsonr(a[there], b[there]).statistic, abs=1e-12)


def test_correlation_of_what_cannot_be_compared_is_not_a_number():
    even, uneven = np.full((10, 10), 0.3), RNG.normal(size=(10, 10))
    assert np.isnan(correlation(even, uneven))
    assert np.isnan(correlation(uneven, 1e-7 * uneven, least=1e-6))
    nearly = np.full((10, 10), np.nan)
    nearly.ravel()[: round(100 * LEAST_OVERLAP) - 1] = RNG.normal(size=round(100 * LEAST_OVERLAP) - 1)
    assert np.isnan(correlation(nearly, uneven))
    nearly.ravel()[round(100 * LEAST_OVERLAP)] = 0.5
    assert not np.isnan(correlation(nearly, uneven))
    assert np.isnan(correlation(np.full((10, 10), np.nan), uneven))


def test_divergence_is_that_of_jensen_and_shannon_in_bits():
    a, b = stack((3, 4), 5), 9 * stack((4, 3), 5).swapaxes(1, 2)
    b[1] = 2 * a[1]
    a[2], b[2] = np.eye(3, 4), np.eye(3, 4)[:, ::-1] * [1, 1, 0, 1]
    with np.errstate(all="raise"):
        found = maps.divergence(a, b)
    wanted = [jensenshannon(one.ravel(), other.ravel(), base=2) ** 2 for one, other in zip(a, b, strict=True)]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert 0 <= found.min() < 1e-12 < found.max() <= 1
    assert np.isnan(maps.divergence(np.zeros((3, 4)), b)).all()
    near = stack((7, 5), 300)
    assert (maps.divergence(near, near * 3) >= 0).all()


def test_aligned_likeness_is_that_of_the_pixels_that_the_view_has():
    rng = np.random.default_rng(3)
    a, b = rng.random((4, 10, 10)), rng.random((4, 10, 10))
    a[rng.random(a.shape) < 0.5] = np.nan
    a[1], a[2] = np.nan, np.nan
    a[1].ravel()[:9], a[2].ravel()[:10] = rng.random(9), rng.random(10)  # fewer than a tenth, and a tenth
    a[3] = np.where(np.isnan(a[3]), np.nan, 0.5 + 5e-7 * a[3])  # constant but for rounding
    with np.errstate(all="raise", under="ignore"):
        found = maps.aligned_likeness(a, b)
    for number in (0, 2, 3):
        inside = ~np.isnan(a[number])
        x, y = a[number][inside], b[number][inside]
        x = np.zeros(len(x)) if number == 3 else (x - x.min()) / np.ptp(x)
        wanted = 1 / (1 + np.mean((x - (y - y.min()) / np.ptp(y)) ** 2))
        assert found[number] == pytest.approx(wanted, abs=1e-6)
    assert np.isnan(found[1])
    np.testing.assert_array_equal(maps.aligned_likeness(a[0], b[:1])[0], found[0])
