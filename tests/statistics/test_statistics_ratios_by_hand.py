"""Small cases worked by hand."""

import numpy as np

from embedshift.statistics import ratios


def test_of_ratios():
    rng = np.random.default_rng(0)
    whole = rng.uniform(1, 2, 50)
    half = whole * rng.normal(0.5, 0.1, 50)
    assert [round(each.item(), 2) for each in ratios.of_ratios([(half[:, None], whole)], seed=0)] == [0.51, 0.48, 0.54]
