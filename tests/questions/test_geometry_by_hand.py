"""Small cases worked by hand."""

import numpy as np

from embedshift.questions.geometry import tables as spread


def test_spread_uniformity():
    assert spread.uniformity([[1.0, 0.0], [0.0, 1.0]]) == -4.0


def test_spread_effective_rank():
    assert round(spread.effective_rank([[3.0, 0.0], [0.0, 3.0], [0.0, 0.0]]), 6) == 2.0


def test_spread_nearest_cosine():
    assert spread.nearest_cosine([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]]) == 0.6666666666666666


def test_spread_jackknife():
    low, high = spread.jackknife(lambda part: part.mean(), np.arange(1.0, 9.0)[:, None])
    assert (round(low, 3), round(high, 3)) == (2.452, 6.548)
