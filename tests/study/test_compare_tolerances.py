"""Tolerances of several studies side by side, and rules about them: by both criteria, and of few searched images."""

import numpy as np
import polars as pl
import pytest
from matplotlib.collections import PathCollection

import embedshift
from embedshift.errors import UsageError
from embedshift.statistics.strengths import missed_tolerances
from support import studies
from support.comparing import OTHER, A, C, farther, result, results, turned, variant
from support.graded import CLOSER, DARKER, graded
from support.synthetic import make_study

pytestmark = pytest.mark.slow

CAPPED = "a tolerance beyond the strongest level counts as the strongest level"
ENDS = ["value", "low", "high"]
SHIFT, MISSED = "relative shift 0.1", "missed 5 %"


def about(family, criterion):
    return f"table: tolerance, family: {family.name}, criterion: {criterion}, unit: {family.unit}"


def ends_of(study, family, criterion):
    return study.tolerance().filter(family=family.name, criterion=criterion).select(ENDS).row(0)


def columns(name):
    return [name, f"{name} low", f"{name} high"]


@pytest.fixture(scope="module")
def first():
    return studies.families()


@pytest.fixture(scope="module")
def second(first, tmp_path_factory):
    return variant(first, tmp_path_factory.mktemp("compare") / "b", farther(1.6), shard_size=64, **OTHER)


@pytest.mark.matrix
def test_tolerances_are_over_the_images_that_all_measured(first, tmp_path):
    lost = ("image-00003.png", "image-00009.png", "image-00020.png")
    part = variant(first, tmp_path / "part", failed=lost, shard_size=64)
    other = variant(first, tmp_path / "other", farther(1.5), failed=lost, shard_size=64, **OTHER)
    table = embedshift.compare([first, other]).tolerances
    assert table.columns == ["family", "unit", "criterion", *columns(A), *columns(C)]
    for study, name in ((part, A), (other, C)):
        wanted = study.tolerance().filter(criterion=SHIFT).select(ENDS)
        np.testing.assert_allclose(table.filter(criterion=SHIFT).select(columns(name)), wanted, rtol=1e-9)
    assert table[A][0] != first.tolerance()["value"][0]
    ranks = first.search_ranks().filter(~pl.col("image_id").is_in(lost))
    wanted = missed_tolerances(first.reader().families, ranks, 1).select(ENDS)
    np.testing.assert_allclose(table.filter(criterion=MISSED).select(columns(A)), wanted, rtol=1e-9)


def test_rules_compare_tolerances_in_their_own_direction(first, second):
    """An encoder that moves farther tolerates fewer stops, and needs a larger part of the side."""
    for family, operator in ((DARKER, "may_fall"), (CLOSER, "may_rise")):
        own, reference = (ends_of(study, family, SHIFT) for study in (second, first))
        found, kept = results(second, first, *(f"{about(family, SHIFT)}, {operator}: {bound}" for bound in (0.0, 9.0)))
        assert found.value == pytest.approx(own[0] - reference[0])
        assert (found.value < 0) == (operator == "may_fall")
        assert found.low == pytest.approx(found.value - np.hypot(own[0] - own[1], reference[2] - reference[0]))
        assert (found.outcome != "kept", kept.outcome) == (True, "kept")


@pytest.mark.matrix
def test_a_tolerance_beyond_the_strongest_level_counts_as_that_level(tmp_path):
    effect = {f"{family.name}@{level}": 0.01 * level for family in (DARKER, CLOSER) for level in range(1, 6)}
    first = make_study(tmp_path / "a", 30, graded(DARKER, CLOSER), effect=effect)
    assert first.tolerance().filter(criterion=SHIFT)["value"].is_null().all()
    other = variant(first, tmp_path / "b", farther(1.1), shard_size=64, **OTHER)
    worse = variant(first, tmp_path / "c", farther(900.0), shard_size=64, **OTHER)
    for family, operator in ((DARKER, "may_fall"), (CLOSER, "may_rise")):
        text = f"{about(family, SHIFT)}, {operator}: 0.1"
        found, reached = result(other, first, text), result(worse, first, text)
        assert (found.outcome, found.value, found.low, found.note) == ("kept", 0, 0, CAPPED)
        assert (reached.outcome, reached.value) == (
            "broken", pytest.approx(ends_of(worse, family, SHIFT)[0] - family.levels[-1]),
        )  # fmt: skip
    up = {"at_least: 5": "kept", "at_least: 6": "undecided", "at_most: 6": "undecided", "at_most: 4": "broken"}
    down = {"at_most: .25": "kept", "at_most: .2": "undecided", "at_least: .3": "broken", "at_least: .2": "undecided"}
    for family, cases in ((DARKER, up), (CLOSER, down)):
        found = results(first, None, *(f"{about(family, SHIFT)}, {bound}" for bound in cases))
        assert [each.outcome for each in found] == [*cases.values()]


@pytest.mark.matrix
def test_the_second_tolerance_is_compared_too_and_few_searched_images_decide_nothing(tmp_path):
    first = make_study(tmp_path / "a", 40, graded(DARKER))
    other = variant(first, tmp_path / "b", turned(3), shard_size=64, **OTHER)
    own, reference = (ends_of(study, DARKER, MISSED) for study in (other, first))
    rule = about(DARKER, MISSED)
    found = result(other, first, f"{rule}, may_fall: 0.0")
    assert found.value == pytest.approx(own[0] - reference[0])
    assert found.low == pytest.approx(found.value - np.hypot(own[0] - own[1], reference[2] - reference[0]))
    assert result(first, None, f"{rule}, at_least: 0.01").outcome == "kept"
    first.search(queries=5)
    assert ends_of(first, DARKER, MISSED)[1:] == (None, None)
    found = result(first, None, f"{rule}, at_least: 5")
    assert (found.outcome, found.images, found.images_needed) == ("undecided", 5, 8)
    first.search(queries=12)
    assert result(first, None, f"{rule}, at_least: 3").images == 12


@pytest.mark.matrix
def test_they_are_written_drawn_and_printed_where_there_are_families(first, second, tmp_path, cli):
    found = embedshift.compare([first, second], out=tmp_path / "out")
    assert pl.read_csv(tmp_path / "out" / "tolerances.csv").columns == found.tolerances.columns
    assert (tmp_path / "out" / "figures" / "compare_tolerances.svg").is_file()
    axes = found.figure("tolerances").axes[0]
    at = [float(part.get_offsets()[0][0]) for part in axes.collections if isinstance(part, PathCollection)]
    families = {family.name: family for family in found.families}
    rows = found.tolerances.filter(criterion=SHIFT).to_dicts()
    wanted = [float(families[row["family"]].levels_at(row[name])) for name in (A, C) for row in rows]
    assert at == pytest.approx(wanted)
    assert "% of the side kept" in cli("compare", first.folder, second.folder).out
    without = embedshift.compare(studies.compared()[::2])
    assert (without.tolerances.is_empty(), "tolerances" in without.to_dicts()) == (True, False)
    with pytest.raises(UsageError, match="are not families"):
        without.figure("tolerances")
