"""Small cases worked by hand."""

import numpy as np

from embedshift.statistics import maps


def test_attention_entropy():
    assert repr(maps.attention_entropy([[[0.0, 2.0]], [[0.0, 0.0]]]).tolist()) == "[0.0, nan]"


def test_scaled_map():
    assert maps.scaled_map([[1.0, 3.0]], 2).tolist() == [[0.0, 1.0], [0.0, 1.0]]


def test_correlation():
    assert maps.correlation([[1.0, 2.0, np.nan]], [[-2.0, -4.0, 9.0]]).item() == -1.0


def test_upsample():
    assert maps.upsample([[0.0, 1.0]], 4)[0].tolist() == [0.0, 0.25, 0.75, 1.0]
