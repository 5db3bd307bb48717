"""Small cases worked by hand."""

import polars as pl

from embedshift.questions.text import measure, tables
from embedshift.questions.text import section as section_module


def test_measure_zero_shot_margin():
    assert measure.zero_shot_margin([1.0, 0.0], [[2.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]]).tolist() == [
        1.0,
        -1.0,
    ]


def test_measure_word_cosines():
    assert (
        repr(measure.word_cosines([1.0, 0.0], [[0.0, 1.0], [3.0, 0.0]], [[-1.0, 1.0]]).round(6).tolist())
        == "[[1.0], [nan]]"
    )


def test_section_against():
    assert section_module.comparison({"labels": {"count": 3}, "templates": ["a photo of a {}."]}, None)["labels"] == 3


def test_section_pointing():
    assert (
        section_module.verdict({"rank": 3, "own_low": 0.1, "own_high": 0.2, "high": -0.1}),
        section_module.verdict({"own_low": None}),
    ) == ("no", "–")


def test_section_percent():
    assert (section_module.percent(0.5), section_module.percent(0.364, 0.998)) == ("50 %", "36 to 99.8 %")


def test_tables_matrix():
    table = pl.DataFrame({"augmentation": ["a", "a"], "word": ["a", "b"], "mean": [0.5, None]})
    assert repr(tables.matrix(table)[2].tolist()) == "[[0.5, nan]]"


def test_tables_tested():
    table = pl.DataFrame({"augmentation": ["a", "b"], "word": ["a", "a"], "mean": [0.5, 0.1]})
    assert tables.tested(table)[0] == ["a"]


def test_tables_word_test():
    pairs = [(a, b, float(a == b)) for a in "abc" for b in "abc"]
    table = pl.DataFrame(pairs, schema=["augmentation", "word", "mean"], orient="row")
    assert tables.word_test(table, None, seed=0).row(-1, named=True)["difference"] == 1.0
