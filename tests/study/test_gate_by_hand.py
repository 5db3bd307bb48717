"""Small cases worked by hand."""

from pathlib import Path

import pytest

from embedshift import errors
from embedshift.study.gate import proposal, result, rules
from embedshift.study.gate import result as decision
from embedshift.study.gate.result import Checked, counted
from embedshift.study.paired import Estimate


def test_check_counted():
    assert counted(Checked(Path("study"), None, ())) == "0 kept, 0 broken, 0 undecided"


def test_decision_decide():
    assert decision.decide(Estimate(0.95, 0.91, 0.97, 100), 0.9, least=True).outcome == "kept"
    assert (
        repr(decision.decide(Estimate(0.95, 0.91, 0.97, 100), 0.94, least=True))
        == "Decision(outcome='undecided', images_needed=3270, note='')"
    )


def test_decision_images_needed():
    assert decision.images_needed(Estimate(0.5, 0.25, 0.75, 100), 0.375, least=True) == 818


def test_output_headline():
    assert result.headline(Checked(Path("study"), None, ())) == "study passes: 0 kept, 0 broken, 0 undecided"


def test_output_number():
    assert (
        result.number(0.98765),
        result.number(0.01, signed=True),
        result.number(-7.12e-05),
        result.number(None),
    ) == ("0.9877", "+0.01", "-0.00007", "-")


def test_proposal_rounded():
    assert (proposal.rounded(0.0279, "0.005", up=True), proposal.rounded(0.97, "0.01", up=False)) == (0.03, 0.97)


def test_proposal_two_figures():
    assert (
        proposal.two_figures(0.01234, up=True),
        proposal.two_figures(47.9, up=False),
        proposal.two_figures(0.0, up=True),
    ) == (0.013, 47.0, 0.0)


def test_rule_as_rules():
    assert (
        next(iter(rules.as_rules([{"table": "search", "metric": "recall@1", "may_fall": 0.01}]))).title
        == "search: value may fall by 0.01"
    )
    with pytest.raises(errors.UsageError, match=r"rule 1: unknown key 'metrik'; did you mean 'metric'\? Known: "):
        list(rules.as_rules([{"table": "search", "metrik": "recall@1", "may_fall": 0.01}]))
