"""What rows record of a view (parameter, displacement, hidden) is what is measured on it, in all families."""

import dataclasses

import numpy as np
import pytest

from embedshift.augmentations.family import FAMILIES
from embedshift.augmentations.views import Canvas
from support.matrix import first_only
from support.strength import MEASURED, covered, photo, shown_displacement

pytestmark = pytest.mark.slow

WARPS = (
    "shift_scale_rotate", "elastic", "perspective", "rotation", "zoom_out", "translation", "crop", "flip",
)  # fmt: skip
COVERS = ("coarse_dropout", "occlusion")
SEEDS = {"astronaut": 3, "china.jpg": 8}


@pytest.mark.parametrize("image", first_only(SEEDS))
@pytest.mark.parametrize("name", MEASURED)
def test_the_parameter_is_what_is_measured_on_the_view(name, image):
    measured, allowed = MEASURED[name]
    pixels = photo(image, 224)
    for each in FAMILIES[name].augmentations():
        recorded = each.level.parameter
        found = measured(each, pixels, SEEDS[image], recorded)
        np.testing.assert_allclose(found, recorded, rtol=allowed, atol=1e-9, err_msg=each.name)


@pytest.mark.parametrize(
    "name", first_only(["noise", "blur", "elastic", "color_jitter", "rotation", "jpeg", "hue", "crop"])
)
def test_another_level_would_be_seen(name):
    measured, allowed = MEASURED[name]
    family, pixels = FAMILIES[name], photo("astronaut", 224)
    for level, parameter in enumerate(family.levels[:-1]):
        stronger = family.at(level + 1, family.levels[level + 1])
        found = measured(dataclasses.replace(stronger), pixels, 3, family.levels[level + 1])
        assert np.all(np.abs(np.asarray(found) / parameter - 1) > allowed)


@pytest.mark.parametrize("name", first_only(WARPS))
def test_displacement_and_hidden_are_those_of_a_warped_grid(name):
    for each in FAMILIES[name].augmentations():
        moved, hidden = Canvas(np.zeros((224, 224, 3), np.uint8)).moved_and_hidden(each, 5)
        of_inside, _, outside = shown_displacement(each, 224, 5)
        assert moved == pytest.approx(of_inside, abs=0.0005)
        assert hidden == pytest.approx(outside, abs=0.005)
        assert moved > 0


@pytest.mark.parametrize("name", COVERS)
@pytest.mark.parametrize("side", [224, 97, 16])
def test_hidden_is_the_fraction_of_pixels_that_do_not_follow_the_image(name, side):
    for each in FAMILIES[name].augmentations():
        moved, hidden = Canvas(np.zeros((side, side, 3), np.uint8)).moved_and_hidden(each, 5)
        assert hidden == covered(each, side, 5).mean()
        assert moved == 0


@pytest.mark.parametrize("name", sorted({*MEASURED} - {*WARPS, *COVERS}))
def test_the_others_move_and_hide_nothing(name):
    for each in FAMILIES[name].augmentations():
        assert Canvas(photo("astronaut", 32)).moved_and_hidden(each, 5) == (0.0, 0.0)
