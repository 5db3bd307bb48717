"""Every augmentation says what it is, with numbers that are measured on its views."""

import functools
import re
from collections.abc import Callable

import albumentations as A
import cv2
import numpy as np
import pytest
import scipy

from embedshift.augmentations import SUITES, VIEWS, Choice, load_suite, paper
from embedshift.augmentations.family import FAMILIES
from support.strength import photo

PAPER = load_suite("paper")
S = 224
Range = tuple[float, float]


def numbers(text: str) -> list[float]:
    return [float(each) for each in re.findall(r"(?<![\w])\.?\d+(?:\.\d+)?", text)]


def said(name: str) -> list[float]:
    """The numbers of a description of the paper's."""
    return numbers(PAPER[name].description)


def over_seeds(name: str, image: np.ndarray, measure: Callable[[np.ndarray], float], count: int = 40) -> np.ndarray:
    return np.array([measure(PAPER[name].draw(image, seed).astype(float)) for seed in range(count)])


def flat(*levels: int) -> np.ndarray:
    """Bars of these levels from left to right."""
    return np.repeat(np.repeat(np.uint8(levels), S // len(levels))[None, :, None], S, axis=0).repeat(3, axis=2)


def assert_within(measured: np.ndarray, low: float, high: float, spare: float = 0.0) -> None:
    """All values lie in a range, of which they reach at least two thirds."""
    assert low - spare <= measured.min()
    assert measured.max() <= high + spare
    assert np.ptp(measured) > 2 / 3 * (high - low)


@pytest.mark.parametrize("suite", SUITES)
def test_every_augmentation_has_one_line(suite):
    for augmentation in SUITES[suite](Choice()):
        assert 5 < len(augmentation.description) < 200
        assert augmentation.description == " ".join(augmentation.description.split())
        assert not set("`{}") & set(augmentation.description)


def sd_of(view: np.ndarray) -> float:
    """The sd of noise on mid-grey, of which levels below 0 are cut, over the range."""
    return 128 / 255 / scipy.stats.norm.isf((view == 0).mean())


def test_the_sd_of_noise_is_in_its_range_and_beyond_imagenet_c():
    low, high, strongest = said("noise")
    assert_within(over_seeds("noise", flat(128), sd_of, 12), low, high, 0.01)
    imagenet_c = FAMILIES["gaussian_noise"].augmentations()[-1]
    assert sd_of(imagenet_c.draw(flat(128), 0)) == pytest.approx(strongest, abs=0.01)
    assert imagenet_c.description.endswith("c: .38)")


def test_the_kernel_of_blur_is_in_its_range():
    point = np.zeros((S, S, 3), np.uint8)
    point[100, 100] = 255
    low, high = said("blur")
    sides = over_seeds("blur", point, lambda view: float(view.any(axis=(0, 2)).sum()))
    # Weights of less than half a level are not seen.
    assert low <= max(sides) <= high
    assert {*sides} <= {1, 3, 5, 7}


def test_colours_are_jittered_by_what_is_said():
    brightness, *_, hue = said("color_jitter")
    factors = over_seeds("color_jitter", flat(128), lambda view: view.mean() / 128)
    assert_within(factors, 1 - brightness / 100, 1 + brightness / 100, 0.01)
    red = np.zeros((S, S, 3), np.uint8)
    red[..., 0], red[..., 1:] = 200, 60

    def turned(view: np.ndarray) -> float:
        degrees = cv2.cvtColor((view[:1, :1] / 255).astype(np.float32), cv2.COLOR_RGB2HSV)[0, 0, 0]
        return float((degrees + 180) % 360 - 180) / 360

    assert_within(over_seeds("color_jitter", red, turned), -hue / 100, hue / 100, 0.01)


def test_shift_scale_and_rotation_are_in_their_ranges():
    shift, scale, degrees = said("shift_scale_rotate")
    line = np.arange(S, dtype=np.uint8)
    image = np.dstack([*np.meshgrid(line, line), np.full((S, S), 255, np.uint8)])
    places = np.mgrid[:S, :S][::-1].reshape(2, -1).T - (S - 1) / 2

    def affine(view: np.ndarray) -> np.ndarray:
        shown = view[..., 2].ravel() == 255
        equations = np.column_stack([places[shown], np.ones(shown.sum())])
        back = np.linalg.lstsq(equations, view.reshape(-1, 3)[shown, :2] - (S - 1) / 2, rcond=None)[0]
        forth = np.linalg.inv(back[:2])
        turn = np.rad2deg(np.arctan2(forth[0, 1], forth[0, 0]))
        return np.array([np.sqrt(np.linalg.det(forth)), turn, *(-back[2] @ forth / S)])

    found = np.array([affine(PAPER["shift_scale_rotate"].draw(image, seed)) for seed in range(25)])
    assert_within(found[:, 0], 1 - scale / 100, 1 + scale / 100, 0.01)
    assert_within(found[:, 1], -degrees, degrees, 0.1)
    assert_within(found[:, 2:], -shift / 100, shift / 100, 0.006)
    corners = PAPER["shift_scale_rotate"].draw(flat(255), 2)[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 0).any(), "the border is black"


def test_a_flip_mirrors():
    image = photo("astronaut", S)
    assert (PAPER["horizontal_flip"].draw(image, 0) == image[:, ::-1]).all()


def test_elastic_moves_by_smoothed_noise_of_this_amplitude():
    amplitude, sigma = said("elastic")
    noise = np.random.default_rng(4).standard_normal((2, S, S), dtype=np.float32)
    noise = noise.astype(np.float64) / np.abs(noise).max()
    stacked = scipy.ndimage.gaussian_filter(noise.reshape(2 * S, S), sigma, truncate=4, mode="nearest")
    moved = np.moveaxis(stacked.reshape(2, S, S), 0, 2) * amplitude
    source = PAPER["elastic"].geometry(np.zeros((S, S, 3), np.uint8), 4).source
    shown = np.isfinite(source).all(axis=2)
    assert np.abs((source - np.mgrid[:S, :S][::-1].transpose(1, 2, 0) - moved)[shown]).max() < 1e-3


def test_the_corners_of_perspective_move_inwards_by_an_sd_in_its_range():
    low, high = said("perspective")
    line = np.arange(S, dtype=np.uint8)
    image = np.dstack([*np.meshgrid(line, line), np.full((S, S), 255, np.uint8)])
    ends = np.array([(1, 1), (S - 2, S - 2)])
    views = [PAPER["perspective"].draw(image, seed) for seed in range(60)]
    corners = np.array([[view[y, x] for x, y in ends] for view in views], float)
    assert (corners[..., 2] == 255).all()
    top_left, bottom_right = np.sqrt(np.mean(np.square((corners[..., :2] - ends) / S), axis=(0, 2)))
    assert low < top_left < high
    # albumentations makes a view of the widest and highest side of the quadrangle, and cuts it from the upper left.
    assert bottom_right > high


def test_brightness_and_contrast_are_changed_by_what_is_said():
    brightness, contrast = said("brightness_contrast")
    image = flat(100, 150)
    slopes = over_seeds("brightness_contrast", image, lambda view: (view[0, -1, 0] - view[0, 0, 0]) / 50)
    assert_within(slopes, 1 - contrast / 100, 1 + contrast / 100, 0.03)
    offsets = over_seeds(
        "brightness_contrast", image, lambda view: (view[0, 0, 0] - 2 * (view[0, -1, 0] - view[0, 0, 0])) / 255
    )
    assert_within(offsets, -brightness / 100, brightness / 100, 0.02)


def test_dropout_has_its_number_of_squares_of_its_side():
    least, most, side = said("coarse_dropout")
    counts, image = [], np.full((S, S, 3), 77, np.uint8)
    for seed in range(40):
        changed = (PAPER["coarse_dropout"].draw(image, seed) != image).any(axis=2).astype(np.uint8)
        _, _, found, _ = cv2.connectedComponentsWithStats(changed)
        if (found[1:, cv2.CC_STAT_AREA] == side**2).all():  # none touches another
            assert (found[1:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]] == side).all()
            counts.append(len(found) - 1)
    assert {*counts} <= {*range(int(least), int(most) + 1)}
    assert max(counts) > least


def test_numbers_are_those_of_the_code(monkeypatch):
    monkeypatch.setitem(paper.PAPER, "noise", ("GaussNoise", {"std_range": (0.1, 0.2)}))
    assert paper.descriptions()["noise"].startswith("Gaussian noise, sd .1 to .2 of the range")
    assert VIEWS["paper"]["noise"] == "Gaussian noise, sd .44 to .88 of the range; ImageNet-C's strongest is .38"
    jpeg = FAMILIES["jpeg"]
    assert jpeg.at(1, 33.0).description == "Writes the image as JPEG and reads it again (quality: 33)"
    assert jpeg.description(*jpeg.levels).endswith("(quality: 80, 50, 25, 10, 5)")
    assert "black border" in FAMILIES["rotation_black"].at(1, 5.0).description


def darken(image, rng):
    """Makes it darker.

    More words.
    """
    return image // 2


class Unnamed:
    def __call__(self, image, rng):
        return image


def test_a_users_own_says_what_its_docstring_or_its_repr_says():
    given = {
        "own": darken,
        "part": functools.partial(darken, rng="/a/private/path"),
        "lambda": lambda image, rng: image,
        "class": Unnamed(),
        "transform": A.GaussianBlur(blur_limit=(3, 5)),
    }
    words = {each.name: each.description for each in load_suite(given)}
    assert words["own"] == words["part"] == "Makes it darker."
    assert "<lambda>" in words["lambda"]
    assert "Unnamed object" in words["class"]
    assert not any("0x" in each for each in words.values())
    assert words["transform"].startswith("GaussianBlur(")
    assert "blur_limit=(3, 5)" in words["transform"]
