"""Small cases worked by hand."""

import numpy as np

from embedshift.statistics import baselines


def test_cosine_baseline():
    baseline = baselines.cosine_baseline({"vectors": {"vectors": np.eye(3)}, "units": {}}.__getitem__, 3)
    assert baseline.value == 0.0


def test_distance_baseline():
    baseline = baselines.distance_baseline(lambda name: {"vectors": np.array([[0.0], [4.0], [4.0]])}, 3)
    assert round(baseline.value, 3) == 2.667


def test_of_sampled_pairs():
    baseline = baselines.of_sampled_pairs(6.0, 14.0, 3, 6)
    assert (baseline.value, round(baseline.error, 3)) == (2.0, 0.577)


def test_relative_shift():
    assert baselines.relative_shift([1.0, 0.7], baselines.Baseline(0.4, 0.01), 1.0).round(2).tolist() == [0.0, 0.5]


def test_is_scale():
    assert (
        baselines.is_scale(baselines.Baseline(0.4, 0.01), 1.0),
        baselines.is_scale(baselines.Baseline(0.4, 0.3), 1.0),
    ) == (
        True,
        False,
    )
