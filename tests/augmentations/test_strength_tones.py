"""Tones, grain and coding of the suite `strength` against Pillow, colorsys, SciPy and slow loops."""

import colorsys
import itertools

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest

from embedshift.augmentations.family import FAMILIES
from support.strength import photo

pytestmark = pytest.mark.slow

SIDE = 48


def image():
    return photo("astronaut", SIDE)


def nearest(view, candidates):
    """The place of the candidate that is nearest to a view, and its largest difference."""
    differences = [np.abs(view.astype(float) - each).max() for each in candidates]
    return int(np.argmin(differences)), min(differences)


def signs_seen(name, candidates_at, allowed):
    """Which of the candidates the views are, for twelve seeds; at every level the same."""
    seen = set()
    for seed in range(12):
        found = []
        for parameter in FAMILIES[name].levels:
            place, difference = nearest(FAMILIES[name].at(1, parameter).draw(image(), seed), candidates_at(parameter))
            assert difference <= allowed, (name, parameter)
            found.append(place)
        assert len(set(found)) == 1, "one sign for all levels"
        seen.add(found[0])
    return seen


def turned(pixels, degrees):
    """Hue turned, pixel by pixel."""
    out = np.empty(pixels.shape)
    for place in np.ndindex(pixels.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixels[place] / 255))
        out[place] = colorsys.hsv_to_rgb((hue + degrees / 360) % 1, saturation, value)
    return 255 * out


def test_hue_is_colorsys_s():
    # 180 degrees is the same both ways.
    degrees = FAMILIES["hue"].levels
    candidates = {each: [turned(image(), each), turned(image(), -each)] for each in degrees}
    for seed in range(6):
        places = [nearest(FAMILIES["hue"].at(1, each).draw(image(), seed), candidates[each]) for each in degrees]
        assert max(difference for _, difference in places) <= 1
        assert len({place for place, _ in places[:-1]}) == 1


def test_gamma_is_a_power_or_its_inverse():
    def candidates(power):
        return [255 * (image() / 255) ** each for each in (power, 1 / power)]

    assert signs_seen("gamma", candidates, 0.51) == {0, 1}


def test_brightness_contrast_is_a_line_through_mid_grey():
    def candidates(amount):
        pairs = itertools.product((-amount, amount), repeat=2)
        return [
            np.clip(127.5 + (image() - 127.5) * (1 + contrast) + 255 * brightness, 0, 255)
            for contrast, brightness in pairs
        ]

    assert signs_seen("brightness_contrast", candidates, 0.51) == {0, 1, 2, 3}


def jittered(amount, signs):
    """By Pillow's enhancers, as torchvision does it, and colorsys."""
    made = Image.fromarray(image())
    for kind, sign in zip((ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), signs, strict=False):
        made = kind(made).enhance(1 + sign * amount)
    return turned(np.asarray(made), signs[3] * 360 * amount)


def test_color_jitter_is_pillow_s_enhancers_and_a_turn_of_hue():
    every = [jittered(0.2, signs) for signs in itertools.product((-1, 1), repeat=4)]
    seen = set()
    for seed in range(12):
        view = FAMILIES["color_jitter"].at(1, 0.2).draw(image(), seed).astype(float)
        # Pillow rounds after each step, which the last steps make larger in dark and saturated pixels.
        differences = [np.abs(view - each).mean() for each in every]
        assert min(differences) < 1.5
        assert np.median(differences) > 2 * min(differences)
        seen.add(int(np.argmin(differences)))
    assert len(seen) > 4


def test_noise_is_one_normal_field_scaled():
    grey = np.full((224, 224, 3), 128, np.uint8)
    weak, strong = (FAMILIES["noise"].at(1, each).draw(grey, 3).astype(float) - 128 for each in (0.03, 0.12))
    free = np.abs(strong) < 120
    assert np.abs(strong - 4 * weak)[free].max() <= 2.5, "four times half a level of rounding, and half a level"
    assert np.corrcoef(weak.ravel(), strong.ravel())[0, 1] > 0.99
    smooth = strong + np.random.default_rng(0).uniform(-0.5, 0.5, strong.shape)
    assert kstest(smooth.ravel() / (0.12 * 255), "norm").statistic < 0.01
    assert abs(np.corrcoef(strong[..., 0].ravel(), strong[..., 1].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(strong[:, 1:].ravel(), strong[:, :-1].ravel())[0, 1]) < 0.02
    assert (FAMILIES["noise"].at(1, 0.12).draw(grey, 4) != FAMILIES["noise"].at(1, 0.12).draw(grey, 3)).mean() > 0.9


@pytest.mark.parametrize("sigma", FAMILIES["blur"].levels)
def test_blur_is_scipy_s(sigma):
    pixels = photo("astronaut", 224)
    wanted = gaussian_filter(pixels.astype(float), (sigma * 224, sigma * 224, 0), mode="mirror", truncate=4)
    difference = np.abs(FAMILIES["blur"].at(1, sigma).draw(pixels, 0) - wanted)
    assert difference.max() <= 3
    assert difference.mean() < 0.6
