"""Tango's interval against a slow search: the restricted likelihood is maximised by number, and the score inverted."""

import numpy as np
import pytest
from scipy import optimize, stats

from embedshift.statistics.intervals import clopper_pearson, difference_of_proportions

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


def test_it_turns_with_the_order_of_the_studies():
    low, high = difference_of_proportions(3, 11, 90)
    assert difference_of_proportions(11, 3, 90) == pytest.approx((-high, -low))


def test_clopper_and_pearson_are_those_of_scipy():
    for found, number in ((0, 12), (5, 12), (12, 12), (199, 200)):
        wanted = stats.binomtest(found, number).proportion_ci(method="exact")
        assert np.array(clopper_pearson(found, number)) == pytest.approx(np.array(wanted))
