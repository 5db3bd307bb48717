"""Small cases worked by hand."""

from pathlib import Path

import numpy as np
import pytest

from embedshift import errors
from embedshift.study.gate import check as check_module
from embedshift.study.gate import decision, estimates, output, proposal, rule, tables
from embedshift.study.gate.check import Checked


def test_check_counted():
    assert check_module.counted(check_module.Checked(Path("study"), None, ())) == "0 kept, 0 broken, 0 undecided"


def test_decision_estimate_ends():
    assert decision.Estimate(0.5, 0.25, 0.75, 100).ends(400) == (0.375, 0.625)


def test_decision_decide():
    assert decision.decide(decision.Estimate(0.95, 0.91, 0.97, 100), 0.9, least=True).outcome == "kept"
    assert (
        repr(decision.decide(decision.Estimate(0.95, 0.91, 0.97, 100), 0.94, least=True))
        == "Decision(outcome='undecided', images_needed=1600, note='')"
    )


def test_decision_images_needed():
    assert decision.images_needed(decision.Estimate(0.5, 0.25, 0.75, 100), 0.375) == 400


def test_estimates_of_relative_shifts():
    found = estimates.proportion_interval(np.array([1.0, -1.0] + [0.0] * 198))
    assert (round(found.value, 3), round(found.low, 3)) == (0.0, -0.023)


def test_estimates_by_degrees():
    found = estimates.by_degrees(np.zeros(100), seed=0)
    assert round(found.high, 3) == 0.036


def test_estimates_mover():
    found = estimates.mover([5.0, 2.0, 8.0], [4.0, 0.0, 8.0], 50)
    assert (found.value, found.low, found.high) == (1.0, -4.0, 6.0)


def test_output_headline():
    from pathlib import Path

    assert (
        output.headline(Checked(Path("study"), None, ()), strict=True) == "study passes: 0 kept, 0 broken, 0 undecided"
    )


def test_output_number():
    assert (
        output.number(0.98765),
        output.number(0.01, signed=True),
        output.number(-7.12e-05),
        output.number(None),
    ) == ("0.9877", "+0.01", "-0.00007", "-")


def test_proposal_wide_ones():
    assert (
        proposal._wide_ones([("jpeg", 40), ("blur", None)]).partition(": ")[2] == "jpeg, blur. More images narrow them."
    )


def test_proposal_rounded():
    assert (proposal.rounded(0.0279, "0.005", up=True), proposal.rounded(0.97, "0.01", up=False)) == (0.03, 0.97)


def test_proposal_two_figures():
    assert (
        proposal.two_figures(0.01234, up=True),
        proposal.two_figures(47.9, up=False),
        proposal.two_figures(0.0, up=True),
    ) == (0.013, 47.0, 0.0)


def test_rule_rule_title():
    assert rule.Rule(1, "search", "value", "may_fall", 0.01).title == "search: value may fall by 0.01"


def test_rule_as_rules():
    assert (
        list(rule.as_rules([{"table": "search", "metric": "recall@1", "may_fall": 0.01}]))[0].title
        == "search: value may fall by 0.01"
    )
    with pytest.raises(errors.UsageError, match="rule 1: unknown key 'metrik'; did you mean 'metric'\\? Known: .*"):
        list(rule.as_rules([{"table": "search", "metrik": "recall@1", "may_fall": 0.01}]))


def test_tables_unit_of():
    assert tables.unit_of("summary", "relative_shift", {"metric": "cosine_similarity"}) == "relative_shift"
