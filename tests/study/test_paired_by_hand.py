"""Small cases worked by hand."""

from pathlib import Path

import numpy as np
import polars as pl

from embedshift.study.paired import checks
from embedshift.study.paired import estimate as estimate_module
from embedshift.study.paired import verdict as overview


def test_checks_distinct():
    assert checks.distinct(["clip", "clip", "vit"], [Path("/x/a"), Path("/x/b"), Path("/x/c")]) == [
        "clip, a",
        "clip, b",
        "vit",
    ]
    assert checks.distinct(["clip", "clip"], [Path("/x/a"), Path("/y/a")]) == ["clip, x/a", "clip, y/a"]


def test_estimate_proportion_difference():
    estimate = estimate_module.proportion_difference(np.array([1.0, -1.0] + [0.0] * 198))
    assert (round(estimate.value, 3), round(estimate.low, 3)) == (0.0, -0.023)


def test_estimate_mover():
    estimate = estimate_module.mover([5.0, 2.0, 8.0], [4.0, 0.0, 8.0], 50)
    assert (estimate.value, estimate.low, estimate.high) == (1.0, -4.0, 6.0)


def test_overview_spearman():
    assert round(overview.spearman(pl.Series([1.0, 2.0, 9.0]), pl.Series([1.0, 3.0, 2.0])), 6) == 0.5
