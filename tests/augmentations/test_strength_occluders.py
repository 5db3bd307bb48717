"""Occluders of the suite `strength`: exact fractions, nested places, the same fill, squares inside of the image."""

import itertools

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, find_objects, label
from scipy.stats import kstest

from embedshift.augmentations import strength as occluders
from embedshift.augmentations.family import FAMILIES
from support.matrix import first_only
from support.strength import photo

SIDE = 224


@pytest.mark.slow
@pytest.mark.parametrize("name", first_only(["coarse_dropout", "occlusion"]))
def test_what_a_level_hides_the_next_one_hides_alike(name):
    image, family = photo("coffee", SIDE), FAMILIES[name]
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
    counts = np.zeros((SIDE, SIDE))
    alone = 0
    for seed in range(60):
        hidden = occluders.holes(SIDE, 8 * 16 * 16 / SIDE**2, np.random.default_rng(seed))
        parts, found = label(hidden)
        assert found <= 8
        counts += hidden
        shapes = [part.shape for part, inside in parts_of(parts, found) if inside]
        # Where some overlap or reach over the rim the others are larger, so that the fraction is met.
        squares = [(height, width) for height, width in shapes if abs(height - width) <= 1 and 15 <= width <= 22]
        alone += len(squares)
    assert alone > 60 * 4
    assert counts.max() < 15, "no place is hidden in all"
    quarters = counts.reshape(2, SIDE // 2, 2, SIDE // 2).sum(axis=(1, 3)) / counts.sum()
    np.testing.assert_allclose(quarters, 0.25, atol=0.06)


def parts_of(parts, found):
    """Each part, cut out, and whether it lies away from the rim."""
    for place in find_objects(parts, found):
        yield parts[place], all(side.start > 0 and side.stop < SIDE for side in place)


def test_dropout_s_squares_grow_where_they_are():
    for seed in range(8):
        weak, strong = (occluders.holes(SIDE, fraction, np.random.default_rng(seed)) for fraction in (0.01, 0.05))
        grown = binary_dilation(weak, np.ones((3, 3)), iterations=10)
        assert (strong & ~grown).sum() == 0


def test_dropout_is_filled_with_random_levels_per_pixel():
    black = np.zeros((SIDE, SIDE, 3), np.uint8)
    view = FAMILIES["coarse_dropout"].at(1, 0.4).draw(black, 3)
    hidden = occluders.holes(SIDE, 0.4, np.random.default_rng(3))
    levels = view[hidden].astype(float)
    assert kstest((levels.ravel() + 0.5) / 256, "uniform").statistic < 0.01
    assert abs(np.corrcoef(levels[:-1, 0], levels[1:, 0])[0, 1]) < 0.03
    assert abs(np.corrcoef(levels[:, 0], levels[:, 1])[0, 1]) < 0.03


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.6, 1.0])
def test_occlusion_is_one_grey_square_inside_of_the_image(fraction):
    image, places = photo("coffee", SIDE), set()
    for seed in range(20):
        down, across = np.nonzero(occluders.rectangle(SIDE, fraction, np.random.default_rng(seed)))
        width = np.ptp(down) + 1
        assert width == np.ptp(across) + 1 == round(SIDE * fraction**0.5)
        assert len(down) == width * width
        places.add((down[0], across[0]))
        view = FAMILIES["occlusion"].at(1, fraction).draw(image, seed)
        assert (view[down, across] == 128).all()
    assert len(places) == (1 if fraction == 1 else 20)


def test_every_place_of_the_square_is_as_likely_as_every_other():
    tops = [np.nonzero(occluders.rectangle(8, 0.15, np.random.default_rng(seed)))[0][0] for seed in range(2000)]
    counts = np.bincount(tops)
    assert len(counts) == 8 - 3 + 1
    assert counts.min() > 0.8 * 2000 / 6
