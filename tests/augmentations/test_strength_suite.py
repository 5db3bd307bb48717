"""The suite `strength`: its table, one draw for all levels, what rows record, its tones and its occluders."""

import colorsys
import itertools

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.ndimage import find_objects, gaussian_filter, label

from embedshift.augmentations import load_suite
from embedshift.augmentations import strength as occluders
from embedshift.augmentations.family import FAMILIES
from embedshift.augmentations.views import Canvas, view_seed
from support.matrix import first_only
from support.strength import MEASURED, covered, photo, shown_displacement

# The table of the docs, written again: level 0, levels 1 to 5.
TABLE = {
    "noise": (0, 0.03, 0.06, 0.12, 0.24, 0.48),
    "blur": (0, 0.0025, 0.005, 0.01, 0.02, 0.04),
    "color_jitter": (0, 0.05, 0.1, 0.2, 0.3, 0.4),
    "shift_scale_rotate": (0, 0.25, 0.5, 1, 1.5, 2),
    "elastic": (0, 0.0025, 0.005, 0.01, 0.02, 0.04),
    "perspective": (0, 0.025, 0.05, 0.1, 0.2, 0.3),
    "brightness_contrast": (0, 0.1, 0.2, 0.3, 0.4, 0.5),
    "coarse_dropout": (0, 0.025, 0.05, 0.1, 0.2, 0.4),
    "rotation": (0, 5, 10, 20, 45, 90),
    "zoom_out": (1, 0.9, 0.75, 0.5, 0.35, 0.25),
    "translation": (0, 0.025, 0.05, 0.1, 0.2, 0.4),
    "crop": (1, 0.9, 0.7, 0.5, 0.3, 0.1),
    "jpeg": (100, 80, 50, 25, 10, 5),
    "downscale": (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32),
    "occlusion": (0, 0.05, 0.1, 0.2, 0.4, 0.6),
    "grey": (0, 0.2, 0.4, 0.6, 0.8, 1),
    "gamma": (1, 1.25, 1.5, 2, 3, 4),
    "hue": (0, 10, 20, 45, 90, 180),
}
BLACK = ("rotation_black", "translation_black", "shift_scale_rotate_black", "zoom_out_black")
OWN = [name for name in FAMILIES if FAMILIES[name].suite == "strength"]


def test_families_and_levels_are_those_of_the_table():
    suite = load_suite("strength")
    wanted = [(f"{name}@{level}", parameters[level]) for name, parameters in TABLE.items() for level in range(1, 6)]
    assert [(each.name, each.level.parameter) for each in suite] == [*wanted, ("flip@1", 1.0)]
    assert len(suite.names) == 91
    assert {each.level.family: each.level.zero for each in suite} == {n: p[0] for n, p in TABLE.items()} | {"flip": 0}
    assert set(OWN) == {*TABLE, "flip", *BLACK}


def test_black_borders_are_asked_for_by_name_and_drawn_as_the_plain_family():
    suite = load_suite("strength", families=[*BLACK, "rotation"])
    assert len(suite.names) == 25
    image = photo("astronaut", 64)
    for name in BLACK:
        plain = name.removesuffix("_black")
        for level in range(1, 6):
            black, known = suite[f"{name}@{level}"], load_suite("strength")[f"{plain}@{level}"]
            assert view_seed(0, "a", black.seed_name, 0) == view_seed(0, "a", known.seed_name, 0)
            assert Canvas(image).moved_and_hidden(black, 5) == Canvas(image).moved_and_hidden(known, 5)
            white = np.full((64, 64, 3), 255, np.uint8)
            hidden = Canvas(image).moved_and_hidden(black, 5)[1]
            assert (black.draw(white, 5) == 0).mean() == pytest.approx(hidden, abs=0.08)
            assert (known.draw(white, 5) == 255).all()


@pytest.mark.parametrize("name", [name for name in OWN if name != "flip"])
def test_a_weak_change_is_hardly_any_and_each_level_is_a_change(name):
    image, family = photo("coffee", 224), FAMILIES[name]
    for seed in range(3):
        least = family.parameter(1, count=5000)
        weak = image.astype(int) if least == family.zero else family.at(1, least).draw(image, seed).astype(int)
        assert np.abs(weak - image).mean() < 0.7
        levels = [family.at(1, parameter).draw(image, seed) for parameter in family.levels]
        changes = [np.abs(level.astype(int) - image).mean() for level in levels]
        assert min(changes) > 2 * np.abs(weak - image).mean()


@pytest.mark.parametrize("name", OWN)
def test_what_is_drawn_at_random_does_not_depend_on_the_level(name):
    """The generator is left in the same state at every level, by the view and by its geometry."""
    image, family = photo("coffee", 48), FAMILIES[name]
    states = set()
    for augmentation in family.augmentations(10):
        rng = np.random.default_rng(3)
        augmentation.transform(image, rng)
        states.add(rng.bit_generator.state["state"]["state"])
    assert len(states) == 1


def test_views_do_not_depend_on_the_number_of_levels():
    image = photo("coffee", 48)
    five, ten = load_suite("strength"), load_suite("strength", levels=10)
    assert len(ten.names) == 181
    for family in TABLE:
        for level in range(1, 6):
            found = ten[f"{family}@{2 * level}"].draw(image, 7)
            np.testing.assert_array_equal(found, five[f"{family}@{level}"].draw(image, 7))


# What rows record of a view (parameter, displacement, hidden) is what is measured on it.

WARPS = (
    "shift_scale_rotate", "elastic", "perspective", "rotation", "zoom_out", "translation", "crop", "flip",
)  # fmt: skip
COVERS = ("coarse_dropout", "occlusion")


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURED)
def test_the_parameter_is_what_is_measured_on_the_view_and_no_other_level(name):
    measured, allowed = MEASURED[name]
    levels = FAMILIES[name].levels
    for each in FAMILIES[name].augmentations():
        found = np.asarray(measured(each, photo("astronaut", 224), 3, each.level.parameter))
        np.testing.assert_allclose(found, each.level.parameter, rtol=allowed, atol=1e-9, err_msg=each.name)
        others = [level for level in levels if level != each.level.parameter]
        assert all(np.all(np.abs(found / other - 1) > allowed) for other in others if other), each.name


@pytest.mark.slow
@pytest.mark.parametrize("name", first_only(WARPS))
def test_displacement_and_hidden_are_those_of_a_warped_grid(name):
    for each in FAMILIES[name].augmentations():
        moved, hidden = Canvas(np.zeros((224, 224, 3), np.uint8)).moved_and_hidden(each, 5)
        of_inside, _, outside = shown_displacement(each, 224, 5)
        assert moved == pytest.approx(of_inside, abs=0.0005)
        assert hidden == pytest.approx(outside, abs=0.005)
        assert moved > 0


@pytest.mark.parametrize("name", sorted({*MEASURED} - {*WARPS}))
@pytest.mark.parametrize("side", [97, 16])
def test_hidden_is_the_fraction_of_pixels_that_do_not_follow_the_image(name, side):
    for each in FAMILIES[name].augmentations():
        moved, hidden = Canvas(photo("astronaut", side)).moved_and_hidden(each, 5)
        assert moved == 0
        assert hidden == (covered(each, side, 5).mean() if name in COVERS else 0)


# Tones against Pillow, colorsys and SciPy; those of whole levels are also known by their bytes (test_golden.py).


def turned(pixels, degrees):
    """Hue turned, pixel by pixel."""
    out = np.empty(pixels.shape)
    for place in np.ndindex(pixels.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixels[place] / 255))
        out[place] = colorsys.hsv_to_rgb((hue + degrees / 360) % 1, saturation, value)
    return 255 * out


def jittered(pixels, amount, signs):
    """By Pillow's enhancers, as torchvision does it, and colorsys."""
    made = Image.fromarray(pixels)
    for kind, sign in zip((ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), signs, strict=False):
        made = kind(made).enhance(1 + sign * amount)
    return turned(np.asarray(made), signs[3] * 360 * amount)


@pytest.mark.slow
def test_color_jitter_is_pillow_s_enhancers_and_a_turn_of_hue_which_is_colorsys_s():
    image, seen = photo("astronaut", 48), set()
    every = [jittered(image, 0.2, signs) for signs in itertools.product((-1, 1), repeat=4)]
    for seed in range(12):
        # Pillow rounds after each step, which the last steps make larger in dark and saturated pixels.
        view = FAMILIES["color_jitter"].at(1, 0.2).draw(image, seed).astype(float)
        differences = [np.abs(view - each).mean() for each in every]
        assert min(differences) < 1.5
        assert np.median(differences) > 2 * min(differences)
        seen.add(int(np.argmin(differences)))
    assert len(seen) > 4
    for degrees in FAMILIES["hue"].levels:
        views = [FAMILIES["hue"].at(1, degrees).draw(image, seed) for seed in range(6)]
        apart = [[np.abs(view - turned(image, sign * degrees)).max() for sign in (-1, 1)] for view in views]
        assert np.min(apart, axis=1).max() <= 1


@pytest.mark.parametrize(("name", "count"), [("hue", 2), ("gamma", 2), ("brightness_contrast", 4), ("grey", 1)])
def test_every_sign_is_drawn_and_is_the_same_at_all_levels(name, count):
    image, kinds = photo("astronaut", 48), set()
    for seed in range(24):
        views = [each.draw(image, seed).astype(float).mean(axis=(0, 1)) for each in FAMILIES[name].augmentations()[:3]]
        kinds.add(tuple(tuple(view.round(6)) for view in views))
    assert len(kinds) == count, "one sign for all levels"


@pytest.mark.parametrize("sigma", FAMILIES["blur"].levels)
def test_blur_is_scipy_s(sigma):
    image = np.ascontiguousarray(photo("astronaut", 224)[:160])  # wider than high
    wanted = gaussian_filter(image.astype(float), (sigma * 160, sigma * 160, 0), mode="mirror", truncate=4)
    difference = np.abs(FAMILIES["blur"].at(1, sigma).draw(image, 0) - wanted)
    assert difference.max() <= 3
    assert difference.mean() < 0.6


# Occluders: exact fractions, nested places, the same fill.


@pytest.mark.slow
@pytest.mark.parametrize("name", first_only(COVERS))
def test_what_a_level_hides_the_next_one_hides_alike(name):
    image, family = photo("coffee", 224), FAMILIES[name]
    for seed in range(8):
        views = [each.draw(image, seed) for each in family.augmentations(10)]
        masks = [each.geometry(image, seed).hidden for each in family.augmentations(10)]
        for view, mask in zip(views, masks, strict=True):
            np.testing.assert_array_equal(view[~mask], image[~mask])
            np.testing.assert_array_equal(view[mask], views[-1][mask], "the same fill at every level")
        for weak, strong in itertools.pairwise(masks):
            assert (strong & weak).sum() == weak.sum() < strong.sum()


@pytest.mark.parametrize("side", [224, 97, 16])
@pytest.mark.parametrize("fraction", [0.001, 0.025, 0.4, 1.0])
def test_dropout_hides_a_fraction_to_the_pixel(side, fraction):
    for seed in range(4):
        hidden = occluders.holes(side, fraction, np.random.default_rng(seed))
        assert hidden.sum() == round(fraction * side * side)


def test_dropout_s_holes_are_the_paper_s_squares_at_random_places():
    counts, alone = np.zeros((224, 224)), 0
    for seed in range(60):
        hidden = occluders.holes(224, 8 * 16 * 16 / 224**2, np.random.default_rng(seed))
        parts, found = label(hidden)
        assert found <= 8
        counts += hidden
        for place in find_objects(parts, found):
            height, width = parts[place].shape
            # Where some overlap or reach over the rim the others are larger, so that the fraction is met.
            alone += all(s.start > 0 and s.stop < 224 for s in place) and abs(height - width) <= 1 and 15 <= width <= 22
    assert alone > 60 * 4
    assert counts.max() < 15, "no place is hidden in all"
    quarters = counts.reshape(2, 112, 2, 112).sum(axis=(1, 3)) / counts.sum()
    np.testing.assert_allclose(quarters, 0.25, atol=0.06)


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.6, 1.0])
def test_occlusion_is_one_grey_square_inside_of_the_image(fraction):
    image, places = photo("coffee", 224), set()
    for seed in range(20):
        down, across = np.nonzero(occluders.rectangle(224, fraction, np.random.default_rng(seed)))
        width = np.ptp(down) + 1
        assert width == np.ptp(across) + 1 == round(224 * fraction**0.5)
        assert len(down) == width * width
        places.add((down[0], across[0]))
        view = FAMILIES["occlusion"].at(1, fraction).draw(image, seed)
        assert (view[down, across] == 128).all()
    assert len(places) == (1 if fraction == 1 else 20)
