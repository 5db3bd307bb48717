"""Small cases worked by hand."""

import numpy as np

from embedshift.statistics import layout as layout_module


def test_layout_positions():
    assert layout_module.Layout(5, ("original", "blur", "flip", "blur", "flip")).positions("flip") == [2, 4]


def test_sums_and_counts():
    sums, counts = layout_module.sums_and_counts(np.array([[[1.0], [2.0]], [[np.nan], [5.0]]]))
    assert (sums.ravel().tolist(), counts.ravel().tolist()) == ([3.0, 5.0], [2.0, 1.0])


def test_side_by_side():
    sums, counts = layout_module.side_by_side([(np.ones((1, 1)), np.ones((1, 1))), (np.zeros((1, 2)), np.ones((1, 2)))])
    assert (sums.tolist(), counts.shape) == ([[1.0, 0.0, 0.0]], (1, 3))
