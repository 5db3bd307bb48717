"""Small cases worked by hand."""

import numpy as np

from embedshift.statistics import spread as spread_module


def test_spread():
    assert spread_module.spread(np.array([1.0, np.nan, 3.0]))["median"] == 2.0
