"""Tolerances of two studies, by both criteria, and of few searched images."""

import numpy as np
import polars as pl
import pytest

import embedshift
from embedshift.study.paired.differences import CAPPED
from support.comparing import OTHER, variant
from support.gates import each, only, turned
from support.graded import CLOSER, DARKER, graded
from support.synthetic import make_study

pytestmark = pytest.mark.slow

RELATIVE_SHIFT = "relative shift 0.1"


def farther(by):
    moved = 1 - by * (1 - pl.col("cosine_similarity"))
    return lambda rows: rows.with_columns(cosine_similarity=moved.clip(-1.0))


def test_tolerances_are_compared_in_their_own_direction(tmp_path):
    """An encoder that moves farther tolerates fewer stops, and needs a larger part of the side."""
    first = make_study(tmp_path / "a", 20, graded(DARKER, CLOSER))
    other = variant(first, tmp_path / "b", farther(1.6), shard_size=64, **OTHER)
    table = embedshift.compare([first, other]).tolerances
    names = table.columns[3::3]
    for family, operator in ((DARKER, "may_fall"), (CLOSER, "may_rise")):
        row = table.filter(family=family.name, criterion=RELATIVE_SHIFT).to_dicts()[0]
        rule = {"table": "tolerance", "family": family.name, "criterion": RELATIVE_SHIFT, "unit": family.unit}
        found, kept = each(other, first, [rule | {operator: bound} for bound in (0.0, 9.0)])
        assert found.value == pytest.approx(row[names[1]] - row[names[0]])
        assert (found.value < 0) == (operator == "may_fall")
        near, far = (row[names[1]] - row[f"{names[1]} low"]), (row[f"{names[0]} high"] - row[names[0]])
        assert found.low == pytest.approx(found.value - np.hypot(near, far))
        assert found.outcome != "kept"
        assert kept.outcome == "kept"


@pytest.mark.matrix
def test_a_tolerance_beyond_the_strongest_level_counts_as_that_level(tmp_path):
    effect = {f"{family.name}@{level}": 0.01 * level for family in (DARKER, CLOSER) for level in range(1, 6)}
    first = make_study(tmp_path / "a", 30, graded(DARKER, CLOSER), effect=effect)
    assert first.tolerance().filter(criterion=RELATIVE_SHIFT)["value"].is_null().all()
    other = variant(first, tmp_path / "b", farther(1.1), shard_size=64, **OTHER)
    worse = variant(first, tmp_path / "c", farther(900.0), shard_size=64, **OTHER)
    for family, operator in ((DARKER, "may_fall"), (CLOSER, "may_rise")):
        rule = {
            "table": "tolerance",
            "family": family.name,
            "criterion": RELATIVE_SHIFT,
            "unit": family.unit,
            operator: 0.1,
        }
        found = only(other, first, **rule)
        assert (found.outcome, found.value, found.low, found.note) == ("kept", 0, 0, CAPPED)
        strongest, reached = family.levels[-1], only(worse, first, **rule)
        assert reached.outcome == "broken"
        row = worse.tolerance().filter(family=family.name, criterion=RELATIVE_SHIFT)
        assert reached.value == pytest.approx(row["value"][0] - strongest)
    rule = {"table": "tolerance", "unit": DARKER.unit, "family": "darker", "criterion": RELATIVE_SHIFT}
    outcomes = [
        only(first, None, **rule, **bound).outcome for bound in ({"at_least": 5}, {"at_least": 6}, {"at_most": 6})
    ]
    assert outcomes == ["kept", "undecided", "undecided"]
    assert only(first, None, **rule, at_most=4).outcome == "broken"
    rule = {"table": "tolerance", "unit": CLOSER.unit, "family": "closer", "criterion": RELATIVE_SHIFT}
    assert [only(first, None, **rule, at_most=each).outcome for each in (0.25, 0.2)] == ["kept", "undecided"]
    assert [only(first, None, **rule, at_least=each).outcome for each in (0.3, 0.2)] == ["broken", "undecided"]


@pytest.mark.matrix
def test_the_second_tolerance_is_compared_too(tmp_path):
    first = make_study(tmp_path / "a", 40, graded(DARKER))
    other = variant(first, tmp_path / "b", turned(3), shard_size=64, **OTHER)
    ends = ("value", "low", "high")
    own, reference = (each.tolerance().filter(criterion="missed 5 %").select(ends).row(0) for each in (other, first))
    rule = {"table": "tolerance", "family": "darker", "criterion": "missed 5 %", "unit": "stops"}
    found = only(other, first, **rule, may_fall=0.0)
    assert found.value == pytest.approx(own[0] - reference[0])
    low = found.value - np.hypot(own[0] - own[1], reference[2] - reference[0])
    assert found.low == pytest.approx(low)


@pytest.mark.matrix
def test_few_searched_images_decide_no_tolerance_by_missed_views(tmp_path):
    study = make_study(tmp_path / "a", 40, graded(DARKER))
    rule = {"table": "tolerance", "family": "darker", "criterion": "missed 5 %", "unit": "stops"}
    assert only(study, None, **rule, at_least=0.01).outcome == "kept"
    study.search(queries=5)
    assert study.tolerance().filter(criterion="missed 5 %").select("low", "high").row(0) == (None, None)
    found = only(study, None, **rule, at_least=5)
    assert (found.outcome, found.images, found.images_needed) == ("undecided", 5, 8)
    study.search(queries=12)
    assert only(study, None, **rule, at_least=3).images == 12
