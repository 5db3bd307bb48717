"""Small cases worked by hand."""

import numpy as np

from embedshift.statistics import floors


def test_cosine_floor():
    floor = floors.cosine_floor({"vectors": {"vectors": np.eye(3)}, "units": {}}.__getitem__, 3)
    assert floor.value == 0.0


def test_distance_floor():
    floor = floors.distance_floor(lambda name: {"vectors": np.array([[0.0], [4.0], [4.0]])}, 3)
    assert round(floor.value, 3) == 2.667


def test_of_sampled_pairs():
    floor = floors.of_sampled_pairs(6.0, 14.0, 3, 6)
    assert (floor.value, round(floor.error, 3)) == (2.0, 0.577)


def test_share():
    assert floors.share([1.0, 0.7], floors.Floor(0.4, 0.01), 1.0).round(2).tolist() == [0.0, 0.5]


def test_is_scale():
    assert (floors.is_scale(floors.Floor(0.4, 0.01), 1.0), floors.is_scale(floors.Floor(0.4, 0.3), 1.0)) == (
        True,
        False,
    )
