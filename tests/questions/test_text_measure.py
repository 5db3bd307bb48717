"""Shifts against words, held against scipy in a slow loop."""

import numpy as np
import pytest
from scipy.spatial.distance import cosine

from embedshift.questions.text.measure import word_cosines
from embedshift.statistics.vectors import direction

RNG = np.random.default_rng(0)
ORIGINAL = RNG.normal(size=(1, 7))
VIEWS = ORIGINAL + 0.8 * RNG.normal(size=(30, 7))


def test_a_shift_is_held_against_every_direction():
    ends, start = RNG.normal(size=(3, 7)), RNG.normal(size=7)
    found = word_cosines(ORIGINAL, VIEWS, direction(ends, start))
    assert found.shape == (30, 3)

    def unit(vector):
        return vector / np.sqrt(np.sum(vector**2))

    for row, view in zip(found, VIEWS, strict=True):
        slow = [1 - cosine(unit(view) - unit(ORIGINAL[0]), unit(end) - unit(start)) for end in ends]
        np.testing.assert_allclose(row, slow, rtol=0, atol=1e-12)


def test_what_did_not_move_points_nowhere():
    directions = RNG.normal(size=(3, 7))
    same = ORIGINAL.astype(np.float32)
    for still in (same, 3 * same, same * np.float32(1 + 1e-7), np.zeros_like(same)):
        assert np.isnan(word_cosines(same, still, directions)).all()
    assert not np.isnan(word_cosines(same, same + 1e-4 * directions[:1], directions)).any()
    assert np.isnan(word_cosines(same, VIEWS[:1], np.zeros((1, 7)))).all()


def test_directions_of_another_length_are_refused():
    with pytest.raises(ValueError, match="one length"):
        word_cosines(ORIGINAL, VIEWS, RNG.normal(size=(1, 6)))
