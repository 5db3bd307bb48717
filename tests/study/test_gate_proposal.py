"""Rules to begin with: which tables they are of, that the study keeps them, and that its images can decide margins."""

import re

import pytest
import yaml

import embedshift
from embedshift.errors import UsageError
from embedshift.statistics.paired_proportions import difference_of_proportions
from embedshift.study.gate import propose
from support.comparing import OTHER, moved, variant
from support.graded import MADE, graded
from support.matrix import first_only
from support.revised import without_vectors
from support.searched import ranked, with_search
from support.synthetic import make_study

pytestmark = pytest.mark.slow

TWO = ["blur", "noise"]


def rules_of(study, file):
    return yaml.safe_load(propose(study, file).read_text())["rules"]


def test_a_study_of_200_images_decides_its_own_margins(tmp_path):
    first = make_study(tmp_path / "a", 200, TWO, effect={"blur": 0.2, "noise": 1.0})
    with_search(first, {"blur": ranked(200), "noise": ranked(200, lost=20)})
    file = tmp_path / "rules.yaml"
    rules = rules_of(first, file)
    margins = {rule["table"]: rule for rule in rules if "may_fall" in rule or "may_rise" in rule}
    assert margins["search"]["may_fall"] == 0.03
    assert "may fall by at most 0.03" in file.read_text()
    assert "images allow" not in file.read_text().partition("relative shift: how far")[0], "0.03 is not wide"
    assert margins["summary"]["may_rise"] >= 0.02
    other = variant(first, tmp_path / "b", moved(0.0, 1, 0.01), shard_size=64, **OTHER)
    with_search(other, {"blur": ranked(200, lost=1), "noise": ranked(200, lost=20)})
    relative = [result for result in embedshift.check(other, file, first).results if result.operator.startswith("may")]
    assert len(relative) == 4
    assert {result.outcome for result in relative} == {"kept"}


def test_bounds_are_ends_of_intervals_rounded_to_the_outside(tmp_path):
    study = with_search(make_study(tmp_path / "a", 50, TWO), {"blur": ranked(50), "noise": ranked(50, lost=10)})
    rules = rules_of(study, tmp_path / "rules.yaml")
    table = study.summary().filter(metric="cosine_similarity")
    for view, high in table.select("augmentation", "relative_shift_high").iter_rows():
        (rule,) = (each for each in rules if "at_most" in each and each["augmentation"] == view)
        assert 0 <= rule["at_most"] - high < 0.01
    bounds = {rule["augmentation"]: rule["at_least"] for rule in rules if "at_least" in rule}
    assert bounds == {"blur": 0.92, "noise": 0.66}  # Clopper and Pearson: 0.9289 of 50 of 50, 0.6628 of 40

    # Both margins are wide: recall's by its own formula, the relative shift's by the root of the number of images.
    text = " ".join((tmp_path / "rules.yaml").read_text().replace("#", "").split())
    recall, relative_shift = map(int, re.findall(r"is wide: about (\d+) images allow 0.05", text))
    falls = [
        -min(difference_of_proportions(gained, 1, images)[0] for gained in (0, 1)) for images in (recall - 1, recall)
    ]
    assert falls[0] > 0.05 >= falls[1]
    (margin,) = (rule["may_rise"] for rule in rules if "may_rise" in rule)
    assert relative_shift == pytest.approx(50 * (margin / 0.05) ** 2, abs=1)


@pytest.mark.matrix
@pytest.mark.parametrize("step", first_only([1.0, 0.1]))
def test_a_suite_of_families_has_rules_of_tolerances(tmp_path, step):
    """All reached, and with a tenth of the steps none."""
    effect = None if step == 1.0 else {view.name: 0.02 for view in graded(*MADE)}
    study = make_study(tmp_path / "a", 40, graded(*MADE), effect=effect)
    file = tmp_path / "rules.yaml"
    rules = rules_of(study, file)
    own = [rule for rule in rules if rule["table"] == "tolerance"]
    assert [(rule["family"], [*rule][-1]) for rule in own] == [
        *[("darker", "at_least"), ("closer", "at_most")] * 2,
        *[("darker", "may_fall"), ("closer", "may_rise")] * 2,
    ]
    assert [rule["criterion"] for rule in own] == [*["relative shift 0.1"] * 2, *["missed 5 %"] * 2] * 2
    assert {rule["family"]: rule["unit"] for rule in own} == {
        "darker": "stops",
        "closer": "fraction of the side kept",
    }
    absolute = [each for each in embedshift.check(study, file).results if each.operator.startswith("at")]
    assert [each.outcome for each in absolute] == ["kept"] * 4
    same = variant(study, tmp_path / "b", shard_size=64, **OTHER)
    relative = [each for each in embedshift.check(same, file, study).results if each.operator.startswith("may")]
    assert len(relative) == 2 * 11 + 2 * 2
    assert {each.outcome for each in relative} == {"kept"}


def test_only_tables_that_are_there_have_rules(tmp_path):
    rules = rules_of(without_vectors(make_study(tmp_path / "a", 20, TWO)), tmp_path / "rules.yaml")
    assert {rule["table"] for rule in rules} == {"summary"}


def test_names_of_any_kind_are_read_back(tmp_path):
    names = ["off", "12", 'a: "b" # c', "ü|<x>"]
    study = make_study(tmp_path / "a", 20, names)
    file = tmp_path / "rules.yaml"
    assert [rule["augmentation"] for rule in rules_of(study, file) if "at_most" in rule] == names
    assert not embedshift.check(study, file).of("broken")


def test_few_images_and_a_file_that_is_there_are_refused(tmp_path):
    with pytest.raises(UsageError, match="7 images are too few for intervals; measure 8 or more"):
        propose(make_study(tmp_path / "a", 7, TWO), tmp_path / "rules.yaml")
    study = make_study(tmp_path / "b", 9, TWO)
    (tmp_path / "rules.yaml").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        propose(study, tmp_path / "rules.yaml")
    assert (tmp_path / "rules.yaml").read_text() == "mine"
    with pytest.raises(UsageError, match="cannot be written"):
        propose(study, tmp_path / "none" / "rules.yaml")
