"""Vectors side by side, and random halves of an encoder's dimensions, against loops in float64 and SciPy."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist
from scipy.stats import ks_2samp, special_ortho_group

from embedshift.statistics.vectors import (
    cosine,
    direction,
    distance,
    finds_original,
    halves,
    normalised,
    pairwise_cosine_distances,
    view_distances,
)


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def made(images=12, views=3, dim=10, noise=1.0):
    rng = np.random.default_rng(0)
    originals = rng.normal(size=(images, dim))
    return unit(originals), unit(originals[:, None] + noise * rng.normal(size=(images, views, dim)))


def test_halves_are_unit_vectors_of_the_turned_ones():
    """Of two dimensions each half is a sign: both signs of a vector occur, and rotations differ."""
    vectors = unit(np.random.default_rng(1).normal(size=(6, 2)))
    signs = [np.hstack(pair) for pair in halves(vectors, seed=3, rotations=40)]
    assert {abs(float(number)) for pair in signs for number in pair.ravel()} == {1.0}
    assert len({pair.tobytes() for pair in signs}) > 4
    np.testing.assert_array_equal(np.hstack(next(halves(vectors, seed=3))), signs[0])


def test_directions_have_haars_measure():
    """Cosines of two orthogonal vectors in a random half, against SciPy's rotations."""
    first, second = np.eye(16, dtype=np.float32)[:2]
    cosines = [
        float(half[0] @ half[1]) for pair in halves(np.stack([first, second]), seed=0, rotations=500) for half in pair
    ]
    turned = special_ortho_group(16, seed=1).rvs(1_000)[:, :2, :8]
    turned /= np.linalg.norm(turned, axis=-1, keepdims=True)
    assert ks_2samp(cosines, (turned[:, 0] * turned[:, 1]).sum(axis=-1)).pvalue > 0.01


def test_an_odd_dimension_is_left_out():
    assert [half.shape for half in next(halves(made(dim=7)[0], seed=0))] == [(12, 3)] * 2


def test_distances_of_views_and_which_find_their_original():
    originals, views = made()
    views[3, 1] = originals[3]
    groups = np.arange(12) // 3
    distances, found = view_distances(originals, views), finds_original(originals, views)
    of_groups = finds_original(originals, views, groups)
    for image in range(12):
        for view in range(3):
            cosines = originals.astype(np.float64) @ views[image, view].astype(np.float64)
            own = cosines[image]
            np.testing.assert_allclose(distances[image, view], 1 - own, atol=1e-6)
            assert found[image, view] == (np.delete(cosines, image) < own).all()
            assert of_groups[image, view] == (cosines[groups != groups[image]] < own).all()
    assert distances[3, 1] == 0
    assert found.mean() < of_groups.mean() < 1


def test_an_original_that_is_there_twice_is_not_found():
    originals, views = made(noise=0.1)
    originals[5] = originals[6]
    assert not finds_original(originals, views)[5:7].any()
    assert finds_original(originals, views, np.array([0, 1, 2, 3, 4, 5, 5, 7, 8, 9, 10, 11]))[6].all()


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
