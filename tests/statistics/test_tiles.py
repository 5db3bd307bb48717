"""Tiles: where they lie, and that they are cut to whole pixels."""

import numpy as np
import pytest

from embedshift.statistics.tiles import TILES, boxes, tiles_of


@pytest.mark.parametrize(("count", "side", "kept"), [(4, 2, 0.6), (9, 3, 0.45)])
def test_tiles_overlap_and_cover_the_image(count, side, kept):
    found = np.array(boxes(count))
    assert found.shape == (count, 4)
    assert np.allclose(found[:, 2:] - found[:, :2], kept)
    assert found.min() == 0
    assert found.max() == 1
    starts = np.linspace(0, 1 - kept, side)
    assert np.allclose(found[:, 0].reshape(side, side), starts)
    assert np.allclose(found[:, 1].reshape(side, side).T, starts)
    assert kept > 1 / side
    assert set(TILES) == {4, 9}


@pytest.mark.parametrize("shape", [(100, 60), (1, 1), (2, 7), (333, 1)])
@pytest.mark.parametrize("count", [4, 9])
def test_they_are_cut_to_whole_pixels_and_never_empty(shape, count):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    tiles = [*tiles_of(image, count)]
    assert len(tiles) == count
    for tile, (left, top, right, bottom) in zip(tiles, boxes(count), strict=True):
        height, width = tile.shape[:2]
        assert height >= 1
        assert width >= 1
        assert abs(height - (bottom - top) * shape[0]) < 1.01
        assert abs(width - (right - left) * shape[1]) < 1.01
    assert (tiles[0][0, 0] == image[0, 0]).all()
    assert (tiles[-1][-1, -1] == image[-1, -1]).all()
