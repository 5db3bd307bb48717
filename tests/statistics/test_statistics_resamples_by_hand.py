"""Small cases worked by hand."""

import numpy as np

from embedshift.statistics import resamples


def test_weights():
    drawn = np.vstack(list(resamples.weights(3, seed=0, resamples=5)))
    assert (drawn.shape, drawn.sum(axis=1).tolist()) == ((5, 3), [3.0, 3.0, 3.0, 3.0, 3.0])
