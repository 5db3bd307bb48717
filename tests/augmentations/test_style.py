"""The suite `style`: each against an independent reference where there is one."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy import ndimage
from skimage import data

from embedshift.augmentations import load_suite
from embedshift.augmentations.style import FILTERS, PLAIN, oil
from embedshift.augmentations.views import Canvas

SUITE = load_suite("style")
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)
PHOTO = np.ascontiguousarray(data.astronaut()[:448:4, 50:498:4])
BOTH = pytest.mark.parametrize("image", [NOISE, PHOTO], ids=["noise", "photo"])


def drawn(name, image):
    return SUITE[name].draw(image, 0)


@BOTH
def test_posterize_solarize_and_negative_are_pillow_s(image):
    pillow = Image.fromarray(image)
    np.testing.assert_array_equal(drawn("posterize", image), np.asarray(ImageOps.posterize(pillow, 2)))
    np.testing.assert_array_equal(drawn("solarize", image), np.asarray(ImageOps.solarize(pillow, 128)))
    np.testing.assert_array_equal(drawn("negative", image), np.asarray(ImageOps.invert(pillow)))


@BOTH
def test_equalize_spreads_each_channel_by_its_own_ranks(image):
    wanted = np.empty(image.shape)
    for c in range(3):
        below = np.array([(image[..., c] <= value).sum() for value in range(256)])
        least = below[image[..., c].min()]
        wanted[..., c] = (255 * (below - least) / (image[..., c].size - least))[image[..., c]]
    assert np.abs(drawn("equalize", image) - wanted).max() <= 0.5 + 1e-4


@BOTH
def test_sepia_is_the_known_matrix(image):
    matrix = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])
    wanted = np.clip(image @ matrix.T, 0, 255)
    assert np.abs(drawn("sepia", image) - wanted).max() <= 1


@BOTH
def test_emboss_is_a_convolution(image):
    kernel = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    wanted = [ndimage.correlate(image[..., c].astype(float), kernel, mode="mirror") for c in range(3)]
    assert np.abs(drawn("emboss", image) - np.clip(np.stack(wanted, axis=2), 0, 255)).max() <= 1


def kuwahara(image, reach):
    """Slowly, by the words of the docs."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float)
    wide = np.pad(image.astype(float), ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    wide_grey = np.pad(grey, reach, mode="reflect")
    found = np.empty(image.shape)
    spreads = np.empty((*grey.shape, 4))
    for y, x in np.ndindex(grey.shape):
        corners = [(y + down, x + right) for down in (reach, 0) for right in (reach, 0)]
        squares = [np.s_[top : top + reach + 1, left : left + reach + 1] for top, left in corners]
        spreads[y, x] = [wide_grey[square].var() for square in squares]
        found[y, x] = wide[squares[int(np.argmin(spreads[y, x]))]].mean(axis=(0, 1))
    return found, np.sort(spreads, axis=2)


@pytest.mark.slow
@BOTH
def test_oil_is_kuwahara_s_filter(image):
    radius = 3 / len(image)
    wanted, spreads = kuwahara(image, 3)
    clear = spreads[..., 1] - spreads[..., 0] > 1e-6  # of two that vary alike either will do
    assert clear.mean() > 0.9
    assert np.abs(oil(image, radius, RNG) - wanted)[clear].max() <= 0.5 + 1e-9
    assert FILTERS["oil"][1] * 224 == pytest.approx(4, abs=0.05)


def domain_transform(image, reach, contrast, rounds=3):
    """The recursive filter of Gastal and Oliveira (2011), equations 11, 14 and 21, in loops."""
    out = guide = image / 255.0

    def across(values, distance, sigma):
        weight = np.exp(-np.sqrt(2) / sigma) ** distance
        values = values.copy()
        for x in range(1, values.shape[1]):
            values[:, x] += weight[:, x, None] * (values[:, x - 1] - values[:, x])
        for x in range(values.shape[1] - 2, -1, -1):
            values[:, x] += weight[:, x + 1, None] * (values[:, x + 1] - values[:, x])
        return values

    def distance(values):
        steps = np.abs(np.diff(values, axis=1, prepend=values[:, :1])).sum(axis=2)
        return 1 + reach / contrast * steps

    right, down = distance(guide), distance(guide.swapaxes(0, 1))
    for i in range(rounds):
        sigma = reach * np.sqrt(3) * 2 ** (rounds - i - 1) / np.sqrt(4**rounds - 1)
        out = across(out, right, sigma)
        out = across(out.swapaxes(0, 1), down, sigma).swapaxes(0, 1)
    return out * 255


def test_smooth_is_the_published_filter():
    wanted = domain_transform(PHOTO, reach=60 * len(PHOTO) / 224, contrast=0.4)
    found = drawn("smooth", PHOTO)
    assert np.abs(found - wanted).mean() < 0.05 * np.abs(PHOTO - wanted).mean()


def test_superpixels_are_flat_patches_of_the_mean_colour():
    view = drawn("superpixels", PHOTO)
    colours, patch, sizes = np.unique(view.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
    assert 60 <= len(colours) <= 300
    for number in range(len(colours)):
        mean = PHOTO.reshape(-1, 3)[patch.ravel() == number].mean(axis=0)
        assert np.abs(mean - colours[number]).max() <= 1.5, sizes[number]


def test_clahe_spreads_lightness_alone():
    def lab(image):
        return cv2.cvtColor(image, cv2.COLOR_RGB2LAB)

    wanted = lab(PHOTO)
    wanted[..., 0] = cv2.createCLAHE(4, (8, 8)).apply(wanted[..., 0])
    np.testing.assert_array_equal(drawn("clahe", PHOTO), cv2.cvtColor(wanted, cv2.COLOR_LAB2RGB))


def test_drawings_are_grey_or_coloured_and_styles_differ():
    views = {name: drawn(name, PHOTO) for name in SUITE.names}
    grey = views["pencil"]
    np.testing.assert_array_equal(grey[..., 0], grey[..., 1])
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
    light = cv2.cvtColor(views["pencil_colour"], cv2.COLOR_RGB2GRAY).astype(float)
    assert np.corrcoef(light.ravel(), grey[..., 0].ravel())[0, 1] > 0.9
    red, blue = (views["pencil_colour"][..., c].astype(float).mean() for c in (0, 2))
    assert red > blue, "the astronaut's suit is orange: red has not become blue"
    assert len({view.tobytes() for view in views.values()} | {PHOTO.tobytes()}) == 14


def test_nothing_is_drawn_by_chance_and_nothing_moves():
    for each in SUITE:
        np.testing.assert_array_equal(each.draw(PHOTO, 1), each.draw(PHOTO, 2), each.name)
        assert Canvas(PHOTO).moved_and_hidden(each, 1) == (0.0, 0.0), each.name
        values = PHOTO[..., 0].astype(float)
        np.testing.assert_array_equal(each.warp(PHOTO, values, 1), values)


def test_styles_are_known_by_version_or_parameters():
    described = SUITE.describe()
    assert set(SUITE.names) == {*FILTERS, *PLAIN}
    assert described["oil"] == {"built_in": "oil", "version": 1}
    assert described["posterize"]["albumentations"]["num_bits"] == (2, 2)
