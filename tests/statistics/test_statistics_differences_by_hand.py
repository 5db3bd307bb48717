"""Small cases worked by hand."""

import numpy as np

from embedshift.statistics import differences as differences_module
from embedshift.statistics.summary import Measured


def test_differences():
    from embedshift.statistics.sample import of_values

    values = np.random.default_rng(0).normal([0.0, 2.0], 1.0, (30, 2))
    table = differences_module.differences(Measured(("blur", "noise"), ("l2_distance",), of_values(values)), seed=0)
    assert table["significant"].to_list() == [True]


def test_contrasts():
    assert differences_module.contrasts(3).tolist() == [[1.0, 1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, -1.0, -1.0]]
