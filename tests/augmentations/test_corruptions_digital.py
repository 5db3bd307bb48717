"""What sensors, cameras and programs do: SciPy's laws of noise, scikit-image, boxes and another encoder of JPEG."""

import itertools

import cv2
import numpy as np
import pytest
from scipy import ndimage, stats
from skimage import color
from skimage.filters import gaussian

from support.corrupted import SEVERITIES, apart, photo, rms, view_of

CONTRAST = dict(zip(SEVERITIES, (0.4, 0.3, 0.2, 0.1, 0.05), strict=True))
PIXELS = dict(zip(SEVERITIES, (134, 112, 89, 67, 56), strict=True))  # int(224 c), c = 0.6, 0.5, 0.4, 0.3, 0.25
JPEG = dict(zip(SEVERITIES, (25, 18, 15, 10, 7), strict=True))
SATURATE = dict(zip(SEVERITIES, ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)), strict=True))
# Length, smoothness and how far corners move, as parts of 244 pixels.
ELASTIC = dict(
    zip(
        SEVERITIES,
        ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)),
        strict=True,
    )
)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_contrast_shrinks_the_distance_from_each_channel_s_mean(severity):
    means = photo().reshape(-1, 3).astype(float).mean(axis=0)
    expected = means + CONTRAST[severity] * (photo() - means)
    assert apart(view_of(photo(), "contrast", severity), expected).max() <= 1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_saturate_changes_the_saturation_of_hsv(severity):
    factor, added = SATURATE[severity]
    hsv = color.rgb2hsv(photo() / 255)
    hsv[..., 1] = np.clip(factor * hsv[..., 1] + added, 0, 1)
    assert apart(view_of(photo(), "saturate", severity), 255 * color.hsv2rgb(hsv)).max() <= 1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_pixelate_shows_means_of_boxes(severity):
    count = PIXELS[severity]
    edges = np.arange(count + 1) * 224 / count
    pixel = np.arange(224)
    # Overlap of every box with every pixel: rows sum to the side of a box.
    overlap = np.clip(np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel), 0, None)
    overlap /= overlap.sum(axis=1, keepdims=True)
    small = np.einsum("iy,yxc,jx->ijc", overlap, photo().astype(float), overlap, optimize=True)
    shown = ((pixel + 0.5) * count / 224).astype(int)
    # Pillow's boxes have whole pixels, those whose centres lie inside.
    found = apart(view_of(photo(), "pixelate", severity), np.rint(small[shown][:, shown]))
    assert found.mean() < (0.6 if severity in (2, 5) else 4)
    assert len(np.unique(np.abs(np.diff(view_of(photo(), "pixelate", severity).astype(int), axis=0)).any(axis=(1, 2)).cumsum())) == count  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("severity", SEVERITIES)
def test_jpeg_compression_has_the_published_quality(severity):
    """Of all qualities of OpenCV's encoder the published one gives the nearest view."""
    view = view_of(photo(), "jpeg_compression", severity)

    def distance(quality):
        sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)
        _, data = cv2.imencode(".jpg", photo()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])
        return rms(view, cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])

    assert min(range(2, 41), key=distance) == JPEG[severity]


@pytest.mark.parametrize("severity", SEVERITIES)
def test_elastic_transform_is_the_published_one(severity):
    """The affine map and the moved places, by scikit-image and SciPy, from the same draws."""
    length, sigma, corner = (244 * part for part in ELASTIC[severity])
    rng = np.random.default_rng(6)
    points = np.array([[186, 186], [186, 38], [38, 38]], float)
    moved = points + rng.uniform(-corner, corner, (3, 2))
    # From the moved points back to the first ones: x and y of the source, by three equations each.
    back = np.linalg.solve(np.column_stack([moved, np.ones(3)]), points).T
    y, x = np.mgrid[:224, :224].astype(float)
    source_x, source_y = (row[0] * x + row[1] * y + row[2] for row in back)
    image = photo().astype(float)
    turned = [ndimage.map_coordinates(image[..., c], (source_y, source_x), order=1, mode="mirror") for c in range(3)]
    noise = 2 * rng.random((2, 224, 224)) - 1
    dx, dy = (gaussian(each, sigma=sigma, mode="reflect", truncate=3) * length for each in noise)
    expected = [ndimage.map_coordinates(each, (y + dy, x + dx), order=1, mode="reflect") for each in turned]
    found = apart(view_of(photo(), "elastic_transform", severity, 6), np.stack(expected, axis=2))
    # OpenCV rounds places to parts of a pixel.
    assert found.mean() < 0.3
    assert np.quantile(found, 0.999) <= 4


# Noise, by quantiles and counts on flat images.

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
