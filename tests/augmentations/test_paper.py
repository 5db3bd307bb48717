"""The suite `paper`: the paper's parameters, albumentations' own views, and what their descriptions say of them."""

import functools
import warnings

import albumentations as A
import numpy as np
import pytest

from embedshift.augmentations import SUITES, VIEWS, Choice, load_suite, paper
from embedshift.augmentations.changes import grid
from embedshift.augmentations.family import FAMILIES
from embedshift.augmentations.paper import REACH, elastic
from support.matrix import first_only

PAPER = load_suite("paper")
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)


def transforms() -> dict[str, A.BasicTransform]:
    """The table of the docs, written again."""
    holes = {"num_holes_range": (6, 8), "hole_height_range": (16, 16), "hole_width_range": (16, 16), "fill": "random"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "noise": A.GaussNoise(std_range=(0.44, 0.88), p=1),
            "blur": A.GaussianBlur(blur_limit=(3, 7), p=1),
            "color_jitter": A.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.2, p=1),
            "shift_scale_rotate": A.ShiftScaleRotate(shift_limit=0.0625, scale_limit=0.1, rotate_limit=15, p=1),
            "horizontal_flip": A.HorizontalFlip(p=1),
            "elastic": A.ElasticTransform(alpha=30, sigma=60, p=1),
            "perspective": A.Perspective(scale=(0.05, 0.1), p=1),
            "brightness_contrast": A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=1),
            "coarse_dropout": A.CoarseDropout(**holes, p=1),
        }


def test_views_are_albumentations_own_with_the_parameters_of_the_paper():
    described = PAPER.describe()
    # Drawn in another way since version 2, faster.
    assert described.pop("elastic") == {"built_in": "elastic", "version": 4, "alpha": 30, "sigma": 60}
    for name, transform in transforms().items():
        if name != "elastic":
            assert described[name] == {"albumentations": A.to_dict(transform)["transform"]}
        for seed in (1, 2**32 - 1):
            transform.set_random_seed(seed)
            wanted, found = transform(image=PICTURE)["image"], PAPER[name].draw(PICTURE, seed)
            # A place of elastic moves by 4e-6 pixels, of which noise shows most.
            assert np.abs(found.astype(int) - wanted).max() <= (name == "elastic"), name
            assert (found != wanted).mean() < 1e-3


# Elastic.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("height", "width"), first_only([(224, 224), (40, 60), (1, 30), (REACH, REACH), (REACH + 1, 200), (1024, 1024)])
)
def test_elastic_moves_pixels_to_the_places_that_albumentations_draws(height, width):
    shape = height, width
    for seed in range(2):
        transform = A.ElasticTransform(alpha=30, sigma=60, p=1)
        transform.set_random_seed(seed)
        maps = transform.get_params_dependent_on_data({"shape": (*shape, 3)}, {})
        wanted = np.stack([maps["map_x"], maps["map_y"]], axis=2)
        found = elastic(shape, 30, np.random.default_rng(seed))
        assert found.dtype == np.float32
        # A float32 place of some hundred pixels is known to 3e-5 of a pixel; the blur of a longer line is approximated.
        assert np.abs(found - wanted).max() < (7e-5 if max(shape) <= REACH else 2e-4)
        assert np.abs(wanted - grid(shape)).max() > 0.05


# Descriptions.


@pytest.mark.parametrize("suite", SUITES)
def test_every_augmentation_has_one_line(suite):
    for augmentation in SUITES[suite](Choice()):
        assert 5 < len(augmentation.description) < 200
        assert augmentation.description == " ".join(augmentation.description.split())
        assert not set("`{}") & set(augmentation.description)


def test_descriptions_have_the_numbers_of_the_code(monkeypatch):
    assert VIEWS["paper"] == {each.name: each.description for each in PAPER}
    assert VIEWS["paper"] == {
        "noise": "Gaussian noise, sd .44 to .88 of the range; ImageNet-C's strongest is .38",
        "blur": "Gaussian blur, kernel of 3 to 7 pixels",
        "color_jitter": "Brightness ±20 %, contrast ±20 %, saturation ±20 %, hue ±20 % of the circle, in a drawn order",
        "shift_scale_rotate": "Shifted by ±6.25 % of the side, scaled by ±10 %, turned by ±15 degrees; black border",
        "horizontal_flip": "Mirrored left to right",
        "elastic": "Warped by noise of amplitude 30, smoothed by a sigma of 60 pixels",
        "perspective": "A view from the side: corners move inwards, sd .05 to .1 of the side; right and bottom are "
        "cut more",
        "brightness_contrast": "Brightness ±20 % of the range, contrast ±20 %",
        "coarse_dropout": "6 to 8 squares of 16 pixels a side, of random colours",
    }
    monkeypatch.setitem(paper.PAPER, "noise", ("GaussNoise", {"std_range": (0.1, 0.2)}))
    assert paper.descriptions()["noise"].startswith("Gaussian noise, sd .1 to .2 of the range")
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
