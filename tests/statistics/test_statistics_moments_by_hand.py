"""Small cases worked by hand."""

import numpy as np

from embedshift.statistics import moments


def test_moments():
    one, other = (moments.Moments(np.zeros(1), together=False) for _ in range(2))
    one.add(np.array([[3.0]]), np.array([[1.0]]))
    other.add(np.array([[5.0]]), np.array([[2.0]]))
    one.merge(other)
    assert (one.images, one.sums.item(), one.counts.item()) == (2, 8.0, 3.0)
