"""Small cases worked by hand."""

import numpy as np

from embedshift.questions.direction import figures, measure, shifts
from embedshift.questions.direction import section as section_module


def test_figures_tree_of():
    assert figures.tree_of(np.array([[1.0, 0.1, 0.9], [0.1, 1.0, 0.0], [0.9, 0.0, 1.0]]))[1] == [1, 0, 2]


def test_measure_shift_sums():
    sums = measure.ShiftSums(augmentations=1, draws=1)
    sums.add_embedding([[2.0, 0.0], [0.0, 3.0]])
    found = sums.close()
    assert (found["shifts"].tolist(), found["originals"].tolist(), round(found["lengths"].item(), 3)) == (
        [[-1.0, 1.0]],
        [1.0, 0.0],
        1.414,
    )


def test_section_row_of():
    assert (
        section_module.row_of(
            {
                "augmentation": "blur",
                "images": 9,
                "resultant": 0.5,
                "resultant_by_chance": 0.33,
                "split_half": None,
                "relative_to_others": 0.2,
            }
        )["relative_to_others"]
        == ""
    )


def test_shifts_cosines():
    assert shifts.cosines([[1.0, 0.0], [0.0, 2.0]], [[0.0, 3.0]]).ravel().tolist() == [0.0, 1.0]


def test_shifts_cosines_of_shifts():
    assert shifts.cosines_of_shifts([0.0, 0.0], [1.0]).round(3).item() == 0.5
