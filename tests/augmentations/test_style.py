"""The suite `style`: each against an independent reference where there is one."""

import albumentations as A
import cv2
import numpy as np
import pytest
from skimage import data

from embedshift.augmentations import load_suite
from embedshift.augmentations.style import FILTERS, oil
from embedshift.augmentations.views import Canvas

SUITE = load_suite("style")
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)
PHOTO = np.ascontiguousarray(data.astronaut()[:448:4, 50:498:4])
BOTH = pytest.mark.parametrize("image", [NOISE, PHOTO], ids=["noise", "photo"])


def drawn(name, image):
    return SUITE[name].draw(image, 0)


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


def test_filters_of_opencv_have_the_strengths_of_the_docs_and_reach_with_the_side():
    reach = 60 * len(PHOTO) / 224
    blue_first = np.ascontiguousarray(PHOTO[..., ::-1])
    grey, colour = cv2.pencilSketch(blue_first, sigma_s=reach, sigma_r=0.07, shade_factor=0.05)
    wanted = {
        "stylization": cv2.stylization(PHOTO, sigma_s=reach, sigma_r=0.45),
        "smooth": cv2.edgePreservingFilter(PHOTO, flags=cv2.RECURS_FILTER, sigma_s=reach, sigma_r=0.4),
        "pencil": grey[..., None].repeat(3, axis=2),
        "pencil_colour": colour[..., ::-1],
    }
    for name, view in wanted.items():
        np.testing.assert_array_equal(drawn(name, PHOTO), view, name)


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


# The table of the docs, written again: filters of albumentations, which tests them.
OF_ALBUMENTATIONS = {
    "sepia": A.ToSepia(p=1), "posterize": A.Posterize(num_bits=2, p=1), "negative": A.InvertImg(p=1),
    "solarize": A.Solarize(threshold_range=(0.5, 0.5), p=1), "equalize": A.Equalize(p=1),
    "clahe": A.CLAHE(clip_limit=(4, 4), p=1), "emboss": A.Emboss(alpha=(1, 1), strength=(1, 1), p=1),
    "superpixels": A.Superpixels(p_replace=(1, 1), n_segments=(100, 100), p=1),
}  # fmt: skip


def test_styles_are_known_by_version_or_parameters():
    versions = {name: {"built_in": name, "version": 1} for name in FILTERS}
    assert SUITE.describe() == versions | {
        name: {"albumentations": A.to_dict(each)["transform"]} for name, each in OF_ALBUMENTATIONS.items()
    }
