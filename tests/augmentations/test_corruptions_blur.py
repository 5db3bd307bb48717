"""Blur: against scikit-image, SciPy, and the published loops written slowly."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import gaussian

from embedshift.augmentations.corruptions import shown_pixels
from embedshift.augmentations.family import FAMILIES
from support.corrupted import SEVERITIES, apart, photo, view_of
from support.matrix import first_only

GAUSSIAN = dict(zip(SEVERITIES, (1, 2, 3, 4, 6), strict=True))
DEFOCUS = dict(zip(SEVERITIES, ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)), strict=True))
MOTION = dict(zip(SEVERITIES, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)), strict=True))
# How many enlargements, and by how much each is larger than the one before; the first is the image.
ZOOM = dict(zip(SEVERITIES, ((12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)), strict=True))
GLASS = dict(zip(SEVERITIES, ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)), strict=True))


@pytest.mark.parametrize("severity", SEVERITIES)
def test_gaussian_blur_is_scikit_image_s(severity):
    expected = 255 * gaussian(photo() / 255, sigma=GAUSSIAN[severity], channel_axis=-1)
    assert apart(view_of(photo(), "gaussian_blur", severity), expected).max() <= 1


def lens(radius, edge):
    """The disk, point by point, and its edge smoothed by three or five weights."""
    half = 8 if radius <= 8 else radius
    disk = np.zeros((2 * half + 1, 2 * half + 1))  # its sum is 1 before its edge is smoothed, not after
    for y in range(-half, half + 1):
        for x in range(-half, half + 1):
            disk[y + half, x + half] = np.hypot(x, y) <= radius
    disk /= disk.sum()
    places = np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)
    weights = np.exp(-((places / edge) ** 2) / 2)
    for axis in (0, 1):
        disk = ndimage.correlate1d(disk, weights / weights.sum(), axis=axis, mode="mirror")
    return disk


@pytest.mark.parametrize("severity", SEVERITIES)
def test_defocus_blur_is_a_disk(severity):
    expected = ndimage.correlate(photo().astype(float), lens(*DEFOCUS[severity])[..., None], mode="mirror")
    assert apart(view_of(photo(), "defocus_blur", severity), expected).max() <= 1


@pytest.mark.parametrize(("severity", "seed"), [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)])
def test_motion_blur_adds_shifted_copies(severity, seed):
    radius, sigma = MOTION[severity]
    angle = np.deg2rad(np.random.default_rng(seed).uniform(-45, 45))
    rows = columns = np.arange(224)
    total, weights = np.zeros((224, 224, 3)), 0.0
    for point in range(2 * radius + 1):
        down, across = (int(np.ceil(point * part - 0.5)) for part in (np.sin(angle), np.cos(angle)))
        weight = np.exp(-(point**2) / (2 * sigma**2))
        total += weight * photo()[np.clip(rows + down, 0, 223)][:, np.clip(columns + across, 0, 223)]
        weights += weight
    assert apart(view_of(photo(), "motion_blur", severity, seed), total / weights).max() <= 1


@pytest.mark.parametrize("severity", first_only(SEVERITIES))
def test_zoom_blur_adds_enlargements_by_scipy(severity):
    image = photo().astype(float)
    total = image.copy()
    count, step = ZOOM[severity]
    for factor in np.round(1 + step * np.arange(count), 2):
        side = int(np.ceil(224 / factor))
        start = (224 - side) // 2
        middle = image[start : start + side, start : start + side]
        total += ndimage.zoom(middle, (factor, factor, 1), order=1)[:224, :224]
    assert apart(view_of(photo(), "zoom_blur", severity), total / (count + 1)).max() <= 1


def swapped_in_place(colours, reach, rounds):
    """The published loop: what reads like a swap of two rows of an array copies one of them, since both are views."""
    side = len(colours)
    for steps in rounds:
        for i, h in enumerate(range(side - reach, reach, -1)):
            for j, w in enumerate(range(side - reach, reach, -1)):
                dx, dy = steps[i, j]
                colours[h, w], colours[h + dy, w + dx] = colours[h + dy, w + dx], colours[h, w]
    return colours


@pytest.mark.parametrize(("reach", "count"), [(1, 2), (2, 3), (4, 2)])
def test_mixed_pixels_are_exactly_those_of_the_published_loop(reach, count):
    side, rng = 24, np.random.default_rng(count)
    rounds = rng.integers(-reach, reach, (count, side - 2 * reach, side - 2 * reach, 2))
    numbered = np.arange(side * side).reshape(side, side, 1).repeat(3, axis=2)
    expected = swapped_in_place(numbered, reach, rounds)
    np.testing.assert_array_equal(shown_pixels(side, reach, rounds).reshape(side, side), expected[..., 0])


@pytest.mark.parametrize("severity", first_only(SEVERITIES))
def test_glass_blur_mixes_between_two_blurs(severity):
    """By the order of pixels that the published loop has confirmed."""
    sigma, reach, count = GLASS[severity]
    rng, span = np.random.default_rng(3), 224 - 2 * reach
    rounds = [rng.integers(-reach, reach, (span, span, 2)) for _ in range(count)]
    blurred = (255 * gaussian(photo() / 255, sigma=sigma, channel_axis=-1)).astype(np.uint8)
    shown = blurred.reshape(-1, 3)[shown_pixels(224, reach, rounds)].reshape(blurred.shape)
    expected = 255 * gaussian(shown / 255, sigma=sigma, channel_axis=-1)
    assert apart(view_of(photo(), "glass_blur", severity, 3), expected).max() <= 1


@pytest.mark.parametrize("severity", first_only(SEVERITIES))
@pytest.mark.parametrize("name", ["motion_blur", "zoom_blur", "glass_blur", "elastic_transform"])
def test_the_recorded_places_are_those_that_a_ramp_shows(name, severity):
    """The view of an image whose grey is its column, or its row, says where each pixel comes from."""
    y, x = np.mgrid[:224, :224]
    augmentation = FAMILIES[name].at(severity, severity)
    inside = (slice(45, -45),) * 2
    distances = []
    for place in (x, y):
        ramp = np.repeat(place[..., None], 3, axis=2).astype(np.uint8)
        moved = augmentation.warp(ramp, place.astype(float), 5)[inside]
        found = augmentation.draw(ramp, 5)[..., 0][inside] + 0.5 - moved  # a view drops the fraction
        assert np.abs(found).max() < (1.6 if name == "glass_blur" else 0.6)  # glass drops two
        distances.append(moved - place[inside])
    assert np.hypot(*distances).mean() > 0.3, "it moves something"
