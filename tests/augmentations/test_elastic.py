"""The paper's elastic augmentation: how far it moves a pixel, and that it is albumentations' own, drawn faster."""

import albumentations as A
import numpy as np
import pytest
from skimage import data

from embedshift.augmentations import load_suite
from embedshift.augmentations.changes import grid
from embedshift.augmentations.paper import REACH, elastic
from embedshift.sources import images
from support.matrix import first_only

pytestmark = pytest.mark.slow

SIZE = 224


def test_it_moves_a_pixel_by_a_third_of_a_pixel_on_average():
    elastic, image = load_suite("paper")["elastic"], np.zeros((SIZE, SIZE, 3), np.uint8)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    lengths = []
    for seed in range(24):
        moved = [elastic.warp(image, values, seed) - values for values in (x, y)]
        lengths.append(np.nanmean(np.hypot(*moved)))
    assert 0.30 < np.mean(lengths) < 0.34
    assert 0.1 < min(lengths) < max(lengths) < 0.7


def drawn_by_albumentations(seed, side):
    transform = A.ElasticTransform(alpha=30, sigma=60, p=1)
    transform.set_random_seed(seed)
    return transform


@pytest.mark.parametrize("side", first_only([224, 8, 32, 225, REACH, REACH + 1, 512, 1024]))
def test_places_are_those_that_albumentations_draws(side):
    for seed in range(2):
        maps = drawn_by_albumentations(seed, side).get_params_dependent_on_data({"shape": (side, side, 3)}, {})
        wanted = np.stack([maps["map_x"], maps["map_y"]], axis=2)
        found = elastic(side, 30, np.random.default_rng(seed))
        assert found.dtype == np.float32
        # A float32 place of some hundred pixels is known to 3e-5 of a pixel; the blur of a longer line is approximated.
        assert np.abs(found - wanted).max() < (7e-5 if side <= REACH else 2e-4)
        assert np.abs(wanted - grid(side)).max() > 0.05


def test_views_of_photographs_differ_by_a_level_in_few_pixels():
    suite, differing, pixels = load_suite("paper"), 0, 0
    for seed, photo in enumerate((data.astronaut(), data.coffee(), data.chelsea(), data.rocket())):
        original = images.ToInput(SIZE)(photo)
        wanted = drawn_by_albumentations(seed, SIZE)(image=original)["image"]
        apart = np.abs(suite["elastic"].draw(original, seed).astype(int) - wanted)
        assert apart.max() <= 1
        differing, pixels = differing + (apart.max(axis=2) > 0).sum(), pixels + SIZE**2
    assert differing / pixels < 1e-4
