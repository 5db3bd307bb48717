"""Small cases worked by hand."""

import numpy as np

from embedshift.questions.direction import figures, measure, shifts


def test_figures_tree_of():
    assert figures.tree_of(np.array([[1.0, 0.1, 0.9], [0.1, 1.0, 0.0], [0.9, 0.0, 1.0]]))[1] == [1, 0, 2]


def test_measure_shift_sums():
    sums = measure.ShiftSums(augmentations=1, draws=1)
    sums.add_embedding([[2.0, 0.0], [0.0, 3.0]])
    found = sums.close()
    assert found["shifts"].dtype == np.float32
    assert (found["shifts"].tolist(), found["originals"].tolist(), round(found["lengths"].item(), 3)) == (
        [[-1.0, 1.0]],
        [1.0, 0.0],
        1.414,
    )


def test_shifts_cosines():
    assert shifts.cosines([[1.0, 0.0], [0.0, 2.0]], [[0.0, 3.0]]).ravel().tolist() == [0.0, 1.0]


def test_shifts_cosines_of_shifts():
    assert shifts.cosines_of_shifts([0.0, 0.0], [1.0]).round(3).item() == 0.5
