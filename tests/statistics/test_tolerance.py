"""The strength at which a curve reaches a value, against a slow loop; and its interval."""

import math

import numpy as np
import polars as pl
import pytest
from scipy.stats import beta, binomtest, t

from embedshift.statistics.strengths import (
    COSINE,
    MISSED_CRITERION,
    RELATIVE_SHIFT_CRITERION,
    MeasuredFamily,
    axis_label,
    by_family,
    families_of,
    in_words,
    interval_in_words,
    missed_fractions,
    missed_tolerances,
    parameter,
    relative_shift_tolerances,
    scaled,
    strength_at,
    tolerance,
    tolerances_from_curves,
)

NAN, INF = math.nan, math.inf


def slow(parameters, values, target):
    """Walks from level to level; the line starts at the highest value so far."""
    at, highest = parameters[0], values[0]
    for strength, value in zip(parameters[1:], values[1:], strict=True):
        if math.isnan(value):
            continue
        if value >= target:
            return at + (target - highest) / (value - highest) * (strength - at) if value != INF else at
        at, highest = strength, max(highest, value)
    return NAN


CASES = {
    "between two levels": ([0, 1, 2, 3], [0, 0.05, 0.15, 0.3], 1.5),
    "at a level": ([0, 1, 2, 3], [0, 0.05, 0.1, 0.3], 2.0),
    "before the first level": ([0, 1, 2, 3], [0, 0.4, 0.5, 0.6], 0.25),
    "not reached": ([0, 1, 2, 3], [0, 0.05, 0.06, 0.0999], NAN),
    "falling parameters": ([100, 80, 50, 25], [0, 0.05, 0.15, 0.3], 65.0),
    "one that falls counts as the highest before it": ([0, 1, 2, 3], [0, 0.08, 0.02, 0.12], 2.5),
    "a plateau below": ([0, 1, 2, 3], [0, 0.05, 0.05, 0.15], 2.5),
    "a plateau at the target": ([0, 1, 2, 3], [0, 0.1, 0.1, 0.1], 1.0),
    "a tie with the target after a fall": ([0, 1, 2, 3], [0, 0.08, 0.04, 0.1], 3.0),
    "below 0": ([0, 1, 2], [0, -0.02, 0.1], 2.0),
    "a level without a value": ([0, 1, 2, 3], [0, 0.05, NAN, 0.15], 2.0),
    "the first without a value": ([0, 1, 2, 3], [0, NAN, 0.2, 0.3], 1.0),
    "the last without a value": ([0, 1, 2, 3], [0, 0.05, 0.06, NAN], NAN),
    "no value": ([0, 1, 2, 3], [0, NAN, NAN, NAN], NAN),
    "a level that may be anything": ([0, 1, 2, 3], [0, 0.05, INF, 0.1], 1.0),
    "steps of different lengths": ([1, 1.25, 1.5, 4], [0, 0.02, 0.05, 0.15], 2.75),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_where_the_highest_so_far_reaches_the_target(case):
    parameters, values, wanted = CASES[case]
    found = strength_at(parameters, values, 0.1)
    assert found == pytest.approx(wanted, nan_ok=True)
    assert slow(parameters, values, 0.1) == pytest.approx(wanted, nan_ok=True)


def test_many_curves_at_once_equal_a_slow_loop():
    rng = np.random.default_rng(0)
    for parameters in (np.cumsum(rng.uniform(0.1, 2, 6)), 100 - np.cumsum(rng.uniform(0.1, 9, 6))):
        values = np.round(rng.normal(0.02, 0.05, (40, 25, 6)).cumsum(axis=-1), 2)  # rounded, so that there are ties
        values[rng.random(values.shape) < 0.15] = NAN
        values[..., 0] = 0.0
        wanted = [slow(parameters.tolist(), curve, 0.1) for curve in values.reshape(-1, 6).tolist()]
        assert 0 < np.isnan(wanted).sum() < len(wanted)
        np.testing.assert_allclose(strength_at(parameters, values, 0.1).ravel(), wanted, rtol=1e-12)


# Strengths, means and both their ends at each level → the strength at which 0.1 is reached, and its interval.
INTERVALS = {
    "strengths whose means may be the target": (
        [0, 1, 2, 3], [0.05, 0.15, 0.3], [0.02, 0.08, 0.18], [0.08, 0.2, 0.4], (1.5, 1 + 0.02 / 0.12, 2.2),
    ),
    "ends swap where parameters fall": (
        [100, 80, 50, 25], [0.05, 0.15, 0.3], [0.02, 0.08, 0.18], [0.08, 0.2, 0.4], (65.0, 45.0, 75.0),
    ),
    "an end beyond the strongest level": ([0, 1, 2], [0.05, 0.12], [0.02, 0.09], [0.08, 0.2], (12 / 7, 7 / 6, NAN)),
    "and where parameters fall": (
        [100, 80, 50], [0.05, 0.12], [0.02, 0.09], [0.08, 0.2], (80 - 30 * 5 / 7, NAN, 75.0),
    ),
    "not reached, with one end": ([0, 1, 2], [0.02, 0.09], [0.01, 0.06], [0.03, 0.13], (NAN, 1.7, NAN)),
    "without intervals": ([0, 1, 2], [0.05, 0.15], [NAN, NAN], [NAN, NAN], (1.5, NAN, NAN)),
}  # fmt: skip


@pytest.mark.parametrize("case", INTERVALS)
def test_the_interval_holds_the_strengths_whose_means_may_be_the_target(case):
    parameters, values, low, high, wanted = INTERVALS[case]
    found = tolerance(parameters, values, low, high, 0.1)
    assert (found.value, found.low, found.high) == pytest.approx(wanted, nan_ok=True)
    assert found.reached == (not math.isnan(found.value))


@pytest.mark.slow
def test_the_value_lies_inside_of_its_interval_whatever_is_missing():
    rng, whole = np.random.default_rng(1), 0
    for _ in range(2_000):
        values = rng.normal(0.03, 0.04, 5).cumsum()
        low, high = values - rng.uniform(0, 0.1, 5), values + rng.uniform(0, 0.1, 5)
        unknown = rng.random(5) < 0.2
        low[unknown], high[unknown] = NAN, NAN
        values[rng.random(5) < 0.1] = NAN
        for strengths in ([0, 1, 2, 4, 8, 16], [1, 0.9, 0.75, 0.5, 0.35, 0.25]):
            found = tolerance(strengths, values, low, high, 0.1)
            inside = [end for end in (found.low, found.value, found.high) if not math.isnan(end)]
            assert inside == sorted(inside)
            whole += len(inside) == 3
    assert whole > 500


def test_missed_relative_shifts_are_those_of_a_binomial_law():
    ranks = [1, 2, 1, None, 3, 1, 1, 2, 1, 1, 1, 1]
    table = pl.DataFrame({"view": ["blur"] * 12 + ["noise"] * 12, "rank": ranks + [1] * 12})
    found = missed_fractions(table, 1)
    for view, missed, views in (("blur", 3, 11), ("noise", 0, 12)):
        interval = binomtest(missed, views).proportion_ci(method="exact")
        assert found[view].tolist() == pytest.approx([missed / views, interval.low, interval.high], abs=1e-9)
    assert missed_fractions(table, 2)["blur"][0] == pytest.approx(3 / 11)


def test_views_of_groups_are_missed_together():
    """Clopper and Pearson's interval at the number of views that groups are worth, by hand (Korn and Graubard)."""
    rng = np.random.default_rng(0)
    units, draws = np.repeat(np.arange(15), rng.integers(2, 5, 15)), 2
    missed = (rng.random((len(units), draws)) < rng.choice([0.1, 0.7], 15)[units][:, None]).astype(int)
    table = pl.DataFrame({"view": ["blur"] * missed.size, "rank": (1 + 3 * missed).ravel()})
    p = missed.mean()
    off = [(missed[units == unit] - p).sum() for unit in range(15)]
    worth = p * (1 - p) * missed.size**2 / np.square(off).sum()
    worth *= (t.ppf(0.975, missed.size - 1) / t.ppf(0.975, 14)) ** 2
    assert 15 < worth < missed.size, "neither bound hides it"
    x, y = p * worth, worth - p * worth
    wanted = [p, beta.ppf(0.025, x, y + 1), beta.ppf(0.975, x + 1, y)]
    assert missed_fractions(table, draws, units)["blur"] == pytest.approx(wanted, rel=1e-9)
    single = missed_fractions(table, draws)["blur"]
    assert wanted[1] < single[1] < single[2] < wanted[2]
    family = MeasuredFamily("blur", "sigma", 0.0, (1.0, 3.0), ("blur", "blur"))
    (row,) = missed_tolerances([family], table, draws, units).to_dicts()
    assert [0.05 / row[name] for name in ("value", "high", "low")] == pytest.approx(wanted, rel=1e-9)


def test_a_family_reaches_its_targets_by_a_straight_line():
    families = [
        MeasuredFamily("blur", "sigma", 0.0, (1.0, 3.0), ("blur@1", "blur@2")),
        MeasuredFamily("jpeg", "quality", 100.0, (80.0, 40.0), ("jpeg@1", "jpeg@2")),
        MeasuredFamily("once", "relative_shift", 0.0, (0.5,), ("once@1",)),
    ]
    relative_shifts = {"blur@1": (0.2, 0.1, 0.3), "blur@2": (0.6, 0.5, 0.7), "jpeg@1": (0.1, 0.0, 0.2)}
    relative_shifts |= {"jpeg@2": (0.2, 0.1, 0.25), "once@1": (1.0, 1.0, 1.0)}
    table = tolerances_from_curves(families, relative_shifts, "so far", 0.3)
    assert table.rows() == [
        ("blur", "sigma", "so far", pytest.approx(1.5), pytest.approx(1.0), pytest.approx(2.0), True),
        ("jpeg", "quality", "so far", None, None, None, False),
    ]
    summary = pl.DataFrame(
        [
            (name, metric, *(ends if metric == COSINE else (9.0,) * 3))
            for name, ends in relative_shifts.items()
            for metric in ("x", COSINE)
        ],
        schema=["augmentation", "metric", "relative_shift", "relative_shift_low", "relative_shift_high"],
        orient="row",
    )
    assert relative_shift_tolerances(families, summary, 0.3).drop("criterion").equals(table.drop("criterion"))


def test_the_strength_at_which_one_view_in_twenty_is_missed():
    families = [MeasuredFamily("blur", "sigma", 0.0, (1.0, 3.0), ("blur@1", "blur@2"))]
    table = pl.DataFrame({"view": ["blur@1"] * 40 + ["blur@2"] * 40, "rank": [1] * 76 + [2] * 4})
    (row,) = missed_tolerances(families, table, 2).to_dicts()
    assert (row["family"], row["criterion"], row["reached"]) == ("blur", "missed 5 %", True)
    assert row["value"] == pytest.approx(2.0), "0 at 1 and 0.1 at 3"


def test_rows_of_one_criterion_by_family():
    table = pl.DataFrame({"family": ["blur", "blur"], "criterion": [RELATIVE_SHIFT_CRITERION, MISSED_CRITERION]})
    assert by_family(table, MISSED_CRITERION) == {"blur": {"family": "blur", "criterion": "missed 5 %"}}
    assert by_family(table) == {"blur": {"family": "blur", "criterion": "relative shift 0.1"}}
    assert by_family(None) == {}


# Strengths and families in words.


def test_strengths_in_words():
    sigma = "sigma / side"
    shown = [scaled(*each) for each in ((0.0065, sigma), (17.3, "quality"), (2.96, "degrees"), (157.2, "degrees"))]
    assert shown == ["0.65", "17", "3.0", "157"]
    assert [scaled(value, "degrees") for value in (99.4, 100.0, -100.0, 1234.0)] == ["99", "100", "-100", "1234"]
    shown = [parameter(*each) for each in ((0.025, "hidden"), (80.0, "quality"), (0.03125, "factor"))]
    assert shown == ["2.5", "80", "0.0312"]
    assert (axis_label(sigma), axis_label("quality")) == ("sigma / side, %", "quality")
    given = {(0.0065, sigma): "0.65 % of the side", (0.018, "hidden"): "1.8 % hidden", (7.84, "degrees"): "7.8 degrees"}
    given |= {(17.3, "quality"): "quality 17", (1.6, "g or 1/g"): "1.6 or 1/1.6", (None, "quality"): "not reached"}
    assert {each: in_words(*each) for each in given} == given
    ends = {(12.4, None): "12 or more", (None, 12.0): "12 or less", (0.0, None): "0.0 or more", (None, None): ""}
    assert {each: interval_in_words(*each, "quality") for each in ends} == ends
    assert interval_in_words(0.005, 0.008, sigma) == "0.50 to 0.80 %"


def test_a_family_has_its_name_unit_and_levels_in_order():
    level = {"family": "jpeg", "unit": "quality", "zero": 100.0}
    suite = {
        "strong": {"level": level | {"number": 2, "parameter": 50.0}},
        "plain": {},
        "weak": {"level": level | {"number": 1, "parameter": 80.0}},
    }
    (family,) = families_of(suite)
    assert family == MeasuredFamily("jpeg", "quality", 100.0, (80.0, 50.0), ("weak", "strong"))
    assert family.levels_at([100.0, 90.0, 65.0]).tolist() == [0.0, 0.5, 1.5]
    assert [family.nearest(each) for each in (66, 64, 99, None)] == ["weak", "strong", "weak", "strong"]
