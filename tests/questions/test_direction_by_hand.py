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
    assert found["shifts"].dtype == np.float32
    assert (found["shifts"].tolist(), found["originals"].tolist(), round(found["lengths"].item(), 3)) == (
        [[-1.0, 1.0]],
        [1.0, 0.0],
        1.414,
    )


def test_section_row_of():
    numbers = {"resultant": 0.504, "resultant_by_chance": 0.333, "split_half": None}
    row = {"augmentation": "blur", "images": 9, **numbers, "relative_to_others": 0.2, "common_offset": 0.25}
    row |= {"centred_shift": 0.4, "centred_shift_low": 0.3, "centred_shift_high": 0.6}
    assert section_module.row_of(row) == {
        "augmentation": "blur",
        "resultant": "0.50",
        "resultant_by_chance": "0.33",
        "split_half": "–",
        "relative_to_others": "",
        "offset": "25.0 %",
        "centred": ("0.40", "0.30 to 0.60"),
    }
    assert section_module.row_of(row | {"relative_to_others": 0.9})["relative_to_others"] == "0.90"
    assert section_module.row_of(row | {"relative_to_others": None})["relative_to_others"] == ""


def test_shifts_cosines():
    assert shifts.cosines([[1.0, 0.0], [0.0, 2.0]], [[0.0, 3.0]]).ravel().tolist() == [0.0, 1.0]


def test_shifts_cosines_of_shifts():
    assert shifts.cosines_of_shifts([0.0, 0.0], [1.0]).round(3).item() == 0.5
