"""Small cases worked by hand."""

import numpy as np

from embedshift.statistics import density as density_module


def test_density():
    assert density_module.density(np.array([1.0, 1.0])) is None
