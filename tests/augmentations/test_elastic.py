"""How far the paper's elastic augmentation moves a pixel, by what becomes of the pixels' own coordinates."""

import numpy as np

from embedshift.augmentations import load_suite

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
