"""Noise: the published distributions, by SciPy's quantiles and counts on flat images."""

import itertools

import numpy as np
import pytest
from scipy import stats

from support.corrupted import SEVERITIES, photo, view_of

GAUSSIAN = dict(zip(SEVERITIES, (0.08, 0.12, 0.18, 0.26, 0.38), strict=True))
SHOT = dict(zip(SEVERITIES, (60, 25, 12, 5, 3), strict=True))
IMPULSE = dict(zip(SEVERITIES, (0.03, 0.06, 0.09, 0.17, 0.27), strict=True))
SPECKLE = dict(zip(SEVERITIES, (0.15, 0.2, 0.35, 0.45, 0.6), strict=True))


def flat(level):
    return np.full((224, 224, 3), level, np.uint8)


def distance(view, law):
    """Largest distance between the fractions of values up to each level and those of a law with clipped values."""
    steps = np.arange(255)  # at 255 both are 1
    found = np.array([(view <= step).mean() for step in steps])
    return np.abs(found - law(steps)).max()


@pytest.mark.parametrize(("severity", "level"), [(1, 30), (2, 128), (3, 30), (4, 128), (5, 30)])
def test_gaussian_noise_has_the_published_deviation(severity, level):
    # A value up to k was below k + 1 before its fraction was dropped.
    law = stats.norm(level / 255, GAUSSIAN[severity])
    view = view_of(flat(level), "gaussian_noise", severity)
    assert distance(view, lambda step: law.cdf((step + 1) / 255)) < 0.005
    wrong = stats.norm(level / 255, GAUSSIAN[severity] * 1.05)
    assert distance(view, lambda step: wrong.cdf((step + 1) / 255)) > 0.005


@pytest.mark.parametrize(("severity", "level"), [(1, 30), (2, 128), (3, 30), (4, 128), (5, 30)])
def test_speckle_noise_grows_with_the_light(severity, level):
    law = stats.norm(level / 255, SPECKLE[severity] * level / 255)
    view = view_of(flat(level), "speckle_noise", severity)
    assert distance(view, lambda step: law.cdf((step + 1) / 255)) < 0.005


@pytest.mark.parametrize(("severity", "level"), [(1, 0), (2, 30), (3, 128), (4, 255), (5, 30)])
def test_shot_noise_is_poisson(severity, level):
    photons = SHOT[severity]
    law = stats.poisson(photons * level / 255)
    view = view_of(flat(level), "shot_noise", severity)
    for count in range(photons):
        up_to = (view <= np.floor(255 * count / photons + 1e-9)).mean()
        assert up_to == pytest.approx(law.cdf(count), abs=0.006)
    assert len(np.unique(view)) <= photons + 1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_impulse_noise_replaces_the_published_fraction_by_black_and_white(severity):
    view = view_of(flat(100), "impulse_noise", severity)
    assert set(np.unique(view)) == {0, 100, 255}
    for level in (0, 255):
        assert (view == level).mean() == pytest.approx(IMPULSE[severity] / 2, abs=0.003)
    assert ((view != 100).any(axis=2) & (view == 100).any(axis=2)).any(), "channels are drawn each for itself"


def test_noise_of_a_weaker_severity_is_in_that_of_a_stronger_one():
    image = photo()
    changed = [view_of(image, "impulse_noise", severity) != image for severity in SEVERITIES]
    assert all((weak <= strong).all() for weak, strong in itertools.pairwise(changed))
    grey = flat(128)
    one, two = (view_of(grey, "gaussian_noise", severity).astype(float) - 128 for severity in (1, 2))
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.99
