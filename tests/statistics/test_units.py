"""Strengths and families in words, and vectors side by side."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from embedshift.statistics.strengths import MeasuredFamily, families_of, interval_in_words, scaled
from embedshift.statistics.vectors import cosine, direction, distance, normalised, pairwise_cosine_distances


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(12.0, None, "12 or more"), (None, 12.0, "12 or less"), (0.0, None, "0.0 or more"), (None, None, "")],
)
def test_an_interval_with_one_end_says_on_which_side_it_is_open(low, high, words):
    assert interval_in_words(low, high, "quality") == words


def test_numbers_from_a_hundred_on_have_all_their_figures():
    assert [scaled(value, "degrees") for value in (99.4, 100.0, -100.0, 1234.0)] == ["99", "100", "-100", "1234"]


def test_a_family_has_its_name_unit_and_levels_in_order():
    level = {"family": "jpeg", "unit": "quality", "zero": 100.0}
    suite = {
        "strong": {"level": level | {"number": 2, "parameter": 50.0}},
        "plain": {},
        "weak": {"level": level | {"number": 1, "parameter": 80.0}},
    }
    assert families_of(suite) == (MeasuredFamily("jpeg", "quality", 100.0, (80.0, 50.0), ("weak", "strong")),)


def test_distances_of_a_batch_are_those_of_each():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 5)), rng.normal(size=(2, 3, 5))
    wanted = [
        [sum((x - y) ** 2 for x, y in zip(*pair, strict=True)) ** 0.5 for pair in zip(*two, strict=True)]
        for two in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(distance(a, b), wanted, rtol=1e-12)


def test_angles_are_those_of_scipy_however_long_the_vectors():
    vectors = np.random.default_rng(1).normal(size=(4, 6, 5)) * np.array([1e-100, 1.0, 1e100, 3.0])[:, None, None]
    scaled_back = vectors / np.abs(vectors).max(axis=(1, 2), keepdims=True)
    wanted = [1 - np.diag(cdist(one, one[::-1], "cosine")) for one in scaled_back]
    np.testing.assert_allclose(cosine(vectors, vectors[:, ::-1]), wanted, atol=1e-12)
    np.testing.assert_allclose(pairwise_cosine_distances(vectors), [pdist(one, "cosine") for one in scaled_back])
    assert np.isnan(cosine(np.zeros(5), vectors)).all()
    assert cosine(vectors[0, :1], vectors[0, :1]) == 1
    with pytest.raises(ValueError, match=r"embeddings of one length are compared, not \(1,\) and \(4, 6, 5\)"):
        cosine([1.0], vectors)


def test_a_direction_is_from_start_to_end():
    assert direction([0.0, 2.0], [3.0, 0.0]).tolist() == [-1.0, 1.0]
    assert normalised([3.0, 4.0]).tolist() == [0.6, 0.8]
    assert np.isnan(normalised([0.0, 0.0])).all()
