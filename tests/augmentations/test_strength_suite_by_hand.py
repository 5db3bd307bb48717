"""Small cases worked by hand."""

import numpy as np

from embedshift.augmentations import strength as detail
from embedshift.augmentations import strength as draws
from embedshift.augmentations import strength as occluders
from embedshift.augmentations import strength as strength_module
from embedshift.augmentations import strength as tones
from embedshift.augmentations import strength as warps
from embedshift.augmentations.augmentation import Choice
from embedshift.augmentations.changes import grid


class Middle(np.random.Generator):
    """Draws the middle of every range, so that phases are 0."""

    def uniform(self, low, high, size):
        return np.full(size, (low + high) / 2)


MIDDLE = Middle(np.random.PCG64(0))


def test_strength_strength():
    assert (strength_module.strength(Choice(families=("jpeg",)))[2].name, len(strength_module.strength(Choice()))) == (
        "jpeg@3",
        91,
    )


def test_coding_downscale():
    image = np.repeat(np.array([[[0], [100], [40], [60]]], np.uint8), 3, axis=2).repeat(4, axis=0)
    assert detail.downscale(image, 0.25, np.random.default_rng(0))[0, :, 0].tolist() == [50, 50, 50, 50]


def test_draws_signs():
    assert set(draws.signs(np.random.default_rng(0), 20).tolist()) == {-1.0, 1.0}


def test_draws_directions():
    assert np.hypot(*draws.directions(np.random.default_rng(0), 3).T).round(6).tolist() == [1.0, 1.0, 1.0]


def test_grain_noise():
    assert (
        detail.noise(np.full((64, 64, 3), 128, np.uint8), 0.1, np.random.default_rng(0)).std().round(1).item() == 25.4
    )


def test_grain_blur():
    row = np.full((1, 9, 3), 0, np.uint8)
    row[:, 4] = 255
    assert detail.blur(np.repeat(row, 9, axis=0), 1 / 9, np.random.default_rng(0))[4, :, 0].tolist() == [
        0,
        1,
        14,
        62,
        102,
        62,
        14,
        1,
        0,
    ]


def test_occluders_holes():
    assert occluders.holes(28, 0.1, np.random.default_rng(0)).sum().item() == round(0.1 * 28 * 28)


def test_occluders_rectangle():
    assert occluders.rectangle(10, 0.1, np.random.default_rng(0)).sum().item() == 9


def test_tones_color_jitter():
    grey = np.full((2, 2, 3), 100, np.uint8)
    assert set(tones.color_jitter(grey, 0.2, np.random.default_rng(0)).ravel().tolist()) <= {80, 120}


def test_tones_brightness_contrast():
    image = np.full((2, 2, 3), 100, np.uint8)
    assert tones.brightness_contrast(image, 0.1, np.random.default_rng(0))[0, 0, 0] in (72, 77, 123, 128)


def test_tones_grey():
    assert tones.grey(np.array([[[200, 100, 0]]], np.uint8), 1.0, np.random.default_rng(0)).tolist() == [
        [[119, 119, 119]]
    ]


def test_tones_gamma():
    assert tones.gamma(np.full((1, 1, 3), 64, np.uint8), 2.0, np.random.default_rng(0))[0, 0, 0] in (16, 128)


def test_tones_hue():
    assert tones.hue(np.array([[[255, 0, 0]]], np.uint8), 180.0, np.random.default_rng(0)).tolist() == [[[0, 255, 255]]]


def test_warps_shift_scale_rotate():
    assert warps.shift_scale_rotate(16, 1.0, np.random.default_rng(0)).shape == (16, 16, 2)


def test_warps_elastic():
    moved = warps.elastic(32, 0.05, np.random.default_rng(0)) - grid(32)
    assert round(float(np.sqrt((moved**2).sum(axis=2).mean())) / 32, 4) == 0.05


def test_warps_perspective():
    corner = warps.perspective(101, 0.1, np.random.default_rng(0))[0, 0]
    assert round(float(np.hypot(*corner)), 3) == 10.1


def test_warps_rotation():
    assert warps.rotation(3, 90.0, MIDDLE)[0, 0].round(3).tolist() in ([0.0, 2.0], [2.0, 0.0])


def test_warps_zoom_out():
    assert warps.zoom_out(5, 0.5, MIDDLE)[2, :, 0].tolist() == [-2.0, 0.0, 2.0, 4.0, 6.0]


def test_warps_translation():
    moved = warps.translation(20, 0.1, MIDDLE)[0, 0]
    assert round(float(np.hypot(*moved)), 3) == 2.0


def test_draws_phases():
    assert draws.phases(np.random.default_rng(0), 2).round(3).tolist() == [0.137, -0.23]
    assert draws.phases(MIDDLE, 1).tolist() == [0.0]


def test_warps_crop():
    source = warps.crop(8, 0.25, np.random.default_rng(0))
    assert (source[0, -1] - source[0, 0]).tolist() == [3.5, 0.0]


def test_warps_flip():
    assert warps.flip(3, 1, np.random.default_rng(0))[0, :, 0].tolist() == [2.0, 1.0, 0.0]
