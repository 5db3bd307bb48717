"""Small cases worked by hand."""

import numpy as np

from embedshift.questions.worst_case import section as section_module


def test_pictures_difference():
    grey = np.full((1, 1, 3), 100, np.uint8)
    assert section_module.difference(grey + 4, grey).ravel().tolist() == [192, 192, 192]


def test_section_budget():
    assert (section_module.budget({"norm": "linf", "eps": 4.0}), section_module.budget({"norm": "l2", "eps": 1.0})) == (
        "4 of 255 levels",
        "L2 distance 1",
    )
