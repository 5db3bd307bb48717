"""Small cases worked by hand."""

import numpy as np

from embedshift.questions.pixels import measure


def test_grey():
    assert measure.grey(np.full((1, 1, 3), 100, np.uint8)).tolist() == [[100000.0]]
