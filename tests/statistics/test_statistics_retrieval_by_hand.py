"""Small cases worked by hand."""

from embedshift.statistics import retrieval


def test_gallery_of():
    assert retrieval.Gallery.of([[3.0, 4.0], [0.0, 0.0]]).lengths.tolist() == [5.0, 0.0]


def test_search():
    gallery = retrieval.Gallery.of([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.0, 1.0]])
    found = retrieval.search([[1.0, 0.0], [0.1, 1.0]], [0, 2], gallery, count=2)
    assert (found.rank.tolist(), found.places.tolist()) == ([1, 2], [[1, 2], [3, 1]])
