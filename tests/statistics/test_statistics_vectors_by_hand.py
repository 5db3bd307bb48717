"""Small cases worked by hand."""

from embedshift.statistics import vectors


def test_cosine():
    assert vectors.cosine([1.0, 0.0], [[2.0, 0.0], [0.0, 3.0]]).tolist() == [1.0, 0.0]


def test_distance():
    assert vectors.distance([0.0, 0.0], [3.0, 4.0]).item() == 5.0


def test_pairwise_cosine_distances():
    assert vectors.pairwise_cosine_distances([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]).tolist() == [1.0, 2.0, 1.0]


def test_direction():
    assert vectors.direction([0.0, 2.0], [3.0, 0.0]).tolist() == [-1.0, 1.0]


def test_unit():
    assert vectors.unit([3.0, 4.0]).tolist() == [0.6, 0.8]
