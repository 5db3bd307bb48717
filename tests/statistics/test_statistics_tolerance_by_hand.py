"""Small cases worked by hand."""

import polars as pl

from embedshift.statistics import tolerance as tolerance_module
from support.examples import fits


def test_strength_at():
    assert (
        repr(
            tolerance_module.strength_at(
                [100, 80, 50, 25], [[0.0, 0.05, 0.04, 0.15], [0.0, 0.01, 0.02, 0.03]], 0.1
            ).tolist()
        )
        == "[37.5, nan]"
    )


def test_tolerance():
    assert fits(
        "Tolerance(value=2.2, low=1.777..., high=2.5)",
        repr(tolerance_module.tolerance([0, 1, 2, 3], [0.02, 0.08, 0.18], [0.01, 0.06, 0.14], [0.03, 0.12, 0.26], 0.1)),
    )


def test_missed_relative_shifts():
    ranks = pl.DataFrame({"view": ["blur", "blur"], "rank": [1, 7]})
    assert tolerance_module.missed_fractions(ranks, 1)["blur"][0].item() == 0.5


def test_by_family():
    table = pl.DataFrame(
        {
            "family": ["blur", "blur"],
            "criterion": [tolerance_module.RELATIVE_SHIFT_CRITERION, tolerance_module.MISSED_CRITERION],
        }
    )
    assert tolerance_module.by_family(table, tolerance_module.MISSED_CRITERION) == {
        "blur": {"family": "blur", "criterion": "missed 5 %"}
    }
