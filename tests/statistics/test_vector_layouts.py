"""Layouts of vectors, against loops."""

import numpy as np
import pytest

from embedshift.statistics.vector_layouts import as_query, in_gallery


def unit(vector):
    return np.asarray(vector, np.float64) / np.linalg.norm(np.asarray(vector, np.float64))


@pytest.fixture(scope="module")
def world():
    """Images of one to five vectors, some of them copies, and a query for each."""
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(120, 16)).astype(np.float32)
    whole[50:55] = whole[:5]
    tiles = (whole[:, None] + rng.normal(size=(120, 4, 16))).astype(np.float32)
    tiles[:30, 2:] = 0  # these have two tiles alone
    queries = (0.5 * whole + tiles[:, 1] + 0.8 * rng.normal(size=whole.shape)).astype(np.float32)
    queries[7] = 0
    return whole, tiles, queries


def test_means_are_of_unit_vectors_and_leave_out_what_is_missing(world):
    whole, tiles, _ = world
    missing = np.where(tiles == 0, np.nan, tiles)
    mean = in_gallery("tiles-mean", whole, missing)
    for image in (0, 60):
        parts = [unit(whole[image]), *(unit(tile) for tile in tiles[image] if tile.any())]
        assert mean[image] == pytest.approx(unit(np.mean(parts, axis=0)), abs=1e-6)
    mirrored = tiles[:, 0]
    both = np.array([unit(unit(a) + unit(b)) for a, b in zip(whole, mirrored, strict=True)])
    assert np.allclose(in_gallery("mirror-mean", whole, mirrored[:, None]), both, atol=1e-6)
    for layout in ("mirror-mean", "mirror-query"):
        assert np.allclose(as_query(layout, whole, mirrored), both, atol=1e-6)
    assert in_gallery("mirror-query", whole, None) is whole
    assert as_query("tiles", whole, None) is whole
