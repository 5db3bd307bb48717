"""Small cases worked by hand."""

import numpy as np

from embedshift.questions.pixels import measure
from embedshift.questions.pixels import measure as aligned


def test_grey():
    assert measure.grey(np.full((1, 1, 3), 100, np.uint8)).tolist() == [[100000.0]]


def test_compared():
    original = np.zeros((2, 2, 3))
    original[0, 0, 1] = np.nan
    before, after = aligned.compared(original, np.ones((1, 2, 2, 3), np.uint8))
    assert np.isnan(before[0, 0, 0]).all()
    assert np.nan_to_num(after[0, :, :, 0], nan=9.0).tolist() == [[9.0, 1.0], [1.0, 1.0]]


def test_mean_of_present():
    values = np.array([[1.0, np.nan, 4.0], [np.nan, np.nan, 4.0]])
    assert aligned.mean_of_present(values, (-1,)).tolist() == [2.5, 4.0]
    assert np.nan_to_num(aligned.mean_of_present(values, (-1,), 0.5), nan=9.0).tolist() == [2.5, 9.0]


def test_in_patches():
    patches, means = aligned.in_patches(np.arange(20.0).reshape(4, 5), 2)
    assert patches.tolist() == [[[0, 1, 5, 6], [2, 3, 7, 8]], [[10, 11, 15, 16], [12, 13, 17, 18]]]
    assert means.tolist() == [[3, 5], [13, 15]]


def test_edge_strength():
    levels = np.array([[0.0, 0.0, 4.0, np.nan], [0.0, 0.0, 4.0, 4.0]])
    assert np.nan_to_num(aligned.edge_strength(levels), nan=9.0).tolist() == [
        [0.0, 1.0, 9.0, 9.0],
        [0.0, 1.0, 1.0, 9.0],
    ]
