"""Strengths and families in words, and vectors side by side."""

import numpy as np
import pytest

from embedshift.statistics.families import MeasuredFamily, families_of
from embedshift.statistics.units import interval_in_words, scaled
from embedshift.statistics.vectors import distance


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(12.0, None, "12 or more"), (None, 12.0, "12 or less"), (0.0, None, "0.0 or more"), (None, None, "")],
)
def test_an_interval_with_one_end_says_on_which_side_it_is_open(low, high, words):
    assert interval_in_words(low, high, "quality") == words


def test_numbers_from_a_hundred_on_have_all_their_figures():
    assert [scaled(value, "degrees") for value in (99.4, 100.0, -100.0, 1234.0)] == ["99", "100", "-100", "1234"]


def test_a_family_has_its_name_unit_and_levels_in_order():
    grade = {"family": "jpeg", "unit": "quality", "zero": 100.0}
    suite = {
        "strong": {"grade": grade | {"level": 2, "parameter": 50.0}},
        "plain": {},
        "weak": {"grade": grade | {"level": 1, "parameter": 80.0}},
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
