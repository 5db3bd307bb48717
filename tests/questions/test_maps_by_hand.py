"""Small cases worked by hand."""

import numpy as np
import polars as pl

from embedshift.questions.maps import column_of, figures, map_columns, measure
from embedshift.questions.maps import section as section_module
from embedshift.statistics.maps import scaled_map


def test_columns_stored():
    assert map_columns("tokens") == ("map_tokens", "map_tokens_original")


def test_columns_compared():
    assert column_of("tokens", "correlation") == "map_tokens_correlation"


def test_columns_score():
    assert column_of("random", "deletion") == "map_random_deletion"


def test_figures_metric_of():
    assert (
        figures.shown_metric(pl.DataFrame({"metric": ["correlation", "aligned_correlation"], "n": [5, 0]}))
        == "correlation"
    )


def test_measure_compare():
    maps = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    found = measure.compare("tokens", maps[0], -maps[1:], [scaled_map(maps[0], 4)], 4)
    assert {name: values.round(6).tolist() for name, values in found.items()} == {
        "map_tokens_correlation": [-1.0],
        "map_tokens_aligned_correlation": [-1.0],
    }


def test_measure_ranks():
    assert measure.ranks([[0.0, 5.0], [0.0, 0.0]], np.array([3, 2, 1, 0])).tolist() == [[3, 0], [2, 1]]


def test_measure_random_order():
    assert measure.random_order(0, "a.jpg", 4).tolist() == [0, 3, 2, 1]


def test_measure_areas():
    assert measure.areas(np.linspace(0.9, 0.1, 9).tolist() * 2, 1.0, 0.0) == {"deletion": 0.5, "insertion": 0.5}


def test_section_rows_of():
    table = pl.DataFrame(
        {
            "map": ["relevance"] * 2,
            "score": ["deletion", "insertion"],
            "n": [9, 9],
            "mean": [0.61, 0.9],
            "ci_low": [0.5, 0.85],
            "ci_high": [0.7, 0.95],
            "gain": [0.2, 0.1],
            "significant": [True, False],
        }
    )
    assert (section_module.trust_rows(table)[0]["verdict"], section_module.trust_rows(table)[0]["deletion"]) == (
        "deletion",
        ("0.61", "0.50 to 0.70"),
    )


def test_section_trusted():
    table = pl.DataFrame(
        {
            "map": ["relevance"] * 2 + ["tokens"] * 2,
            "score": ["deletion", "insertion"] * 2,
            "n": [9] * 4,
            "mean": [0.61, 0.9, 0.7, 0.8],
            "significant": [True] * 4,
            "gain": [0.1] * 4,
        }
    )
    best = {"deletion": ("relevance", "0.610"), "insertion": ("relevance", "0.900"), "is_any": True}
    assert section_module.most_reliable(table) == best


def test_section_ends():
    table = pl.DataFrame(
        {
            "augmentation": ["blur", "noise"],
            "map": ["relevance"] * 2,
            "n": [9, 9],
            "metric": ["correlation"] * 2,
            "mean": [0.9, 0.3],
        }
    )
    ends = [("0.300", "noise"), ("0.900", "blur")]
    assert section_module.largest_and_smallest_changes(table) == [{"map": "relevance", "ends": ends}]
