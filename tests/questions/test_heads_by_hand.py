"""Small cases worked by hand."""

import numpy as np
import polars as pl
from matplotlib.colors import Normalize

from embedshift.questions.heads import figures
from embedshift.questions.heads import observe as bank
from embedshift.questions.heads import section as section_module
from embedshift.questions.heads import tables as arrays
from embedshift.questions.heads import tables as textspan_module
from embedshift.questions.heads import tables as weighted
from embedshift.questions.heads.tables import ContributionArrays


def test_bank_read_bank():
    assert bank.read_bank(None)[:2] == ("a photo of a tench", "a photo of a goldfish")


def test_details_place_of():
    assert section_module.head_name(12, "3") == "block 12, head 3"


def test_figures_parts_of():
    one = ContributionArrays(np.ones((4, 2)) / 8, np.zeros(4), {"input": 0.0, "pattern": 0.0, "rest": 0.0})
    assert {words: values.item() for words, (_, values) in figures.parts_of([one]).items() if values.any()} == {
        "heads of blocks 1–2": 0.5,
        "heads of block 3": 0.25,
        "heads of block 4": 0.25,
    }


def test_figures_groups():
    assert ([*figures.groups(12)], [*figures.groups(2)]) == (
        ["blocks 1–6", "blocks 7–11", "block 12"],
        ["block 1", "block 2"],
    )


def test_section_rows_of():
    parts = {"layer": [0, 0, 0, 1, 1, 1], "part": ["input", "pattern", "rest", "0", "1", "mlp"]}
    numbers = {"contribution": [0.0, 0.0, 0.0, 0.5, 0.3, 0.2], "ci_low": [0.0, 0.0, 0.0, 0.4, 0.2, 0.1]}
    ends = {"ci_high": [0.0, 0.0, 0.0, 0.6, 0.39, 0.3]}
    table = pl.DataFrame({"augmentation": ["noise"] * 6} | parts | numbers | ends)
    row = section_module.rows_of(table, ["noise"])["rows"][0]
    assert (row["heads"][0], row["ahead"], row["mlps"]) == (
        {"name": "block 1, head 0", "contribution": "50.0 %", "interval": "40.0 to 60.0 %"},
        "yes",
        "20.0 %",
    )


def test_section_is_clear():
    assert section_module.is_clear(pl.DataFrame({"ci_low": [0.3, 0.1], "ci_high": [0.5, 0.31]})) == "no"


def test_contributions_contributions_of():
    parts = {"layer": [0, 0, 0, 1, 1, 1], "part": ["input", "pattern", "rest", "0", "1", "mlp"]}
    table = pl.DataFrame({"augmentation": ["noise"] * 6, **parts, "contribution": [0.0, 0.0, 0.0, 0.5, 0.3, 0.2]})
    assert arrays.contributions_of(table)["noise"].heads.tolist() == [[0.5, 0.3]]


def test_contributions_furthest_first():
    assert arrays.furthest_first(["blur", "noise", "still"], np.array([0.1, 0.4, np.nan])) == [
        "noise",
        "blur",
        "still",
    ]


def test_textspan_textspan():
    assert [
        (each.text, round(each.explained, 2))
        for each in textspan_module.textspan([[1, 0], [0, 3]], [[5, 0], [0, 5], [4, 4]])
    ] == [(1, 0.75), (0, 1.0)]


def test_token_maps_coloured():
    assert figures.coloured(np.array([[-1.0, 0.0, 1.0]]), Normalize(-1, 1)).tolist() == [
        [[5, 48, 97], [247, 246, 246], [103, 0, 31]]
    ]


def test_weighted_numbers_of():
    rows = pl.DataFrame({"a": [[1.0, 2.0]], "b": [3.0]}, schema={"a": pl.Array(pl.Float32, 2), "b": pl.Float64})
    assert weighted.numbers_of(rows, ["a", "b"]).tolist() == [[1.0, 2.0, 3.0]]
