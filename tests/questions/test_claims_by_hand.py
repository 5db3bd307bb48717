"""Small cases worked by hand."""

from collections import Counter

import numpy as np

from embedshift.questions.claims import evidence as contrasts
from embedshift.questions.claims import evidence as evidence_module
from embedshift.questions.claims import evidence as trees
from embedshift.questions.claims import kinds as means
from embedshift.questions.claims import kinds as ranks_module
from embedshift.questions.claims import kinds as support
from embedshift.questions.claims import kinds as verdict
from embedshift.questions.claims import section as section_module
from embedshift.questions.claims import tables as paper
from embedshift.questions.claims.evidence import gather
from embedshift.report.page import fill


def test_contrasts_contrasts_all_above():
    assert contrasts.Contrasts(np.array([2.0]), np.ones(1), np.array([[0.0, 1.0, -1.0]])).all_above() == 0.25


def test_contrasts_contrasts_one_below():
    assert (
        contrasts.Contrasts(
            np.array([2.0, -2.0]), np.ones(2), np.array([[0.0, 3.0, -3.0], [0.0, 1.0, 1.0]])
        ).one_below()
        == 0.5
    )


def test_contrasts_contrasts_one_differs():
    assert contrasts.Contrasts(np.array([-2.0]), np.ones(1), np.array([[0.0, 3.0, -1.0]])).one_differs() == 0.5


def test_contrasts_most_outlying():
    assert contrasts.most_outlying(np.array([[1.0, 2.0, 3.0], [9.0, 7.0, 8.0]]), np.array([2.5, 8.5])) == 0.5


def test_contrasts_fraction():
    assert contrasts.fraction(np.array([True, False, False])).item() == 0.5


def test_contrasts_difference():
    assert contrasts.difference("l2_distance", "noise", "blur") == (
        (1.0, ("l2_distance", "noise")),
        (-1.0, ("l2_distance", "blur")),
    )


def test_evidence_distance():
    assert evidence_module.distance("noise", "blur") == ("distance", "blur", "noise")


def test_evidence_evidence_means():
    assert gather([{("l2_distance", "blur"): np.array([[1.0], [3.0]])}]).means([("l2_distance", "blur")]).tolist() == [
        2.0
    ]


def test_evidence_gather():
    evidence = gather([{("l2_distance", "blur"): np.array([[1.0], [3.0]])}])
    assert round(evidence.means([("sd", "l2_distance", "blur")]).item(), 4) == 1.4142


def test_means_order():
    assert len(means.order("l2_distance", ["noise"], ["blur", "elastic"]).contrasts) == 2


def test_paper_paper_claims():
    assert [claim.name for claim in paper.paper_claims()][:3] == ["1a", "1b", "2a"]


def test_ranks_ranks():
    assert ranks_module.ranks(np.array([0.1 + 0.2, 0.3, 0.1])).tolist() == [2.5, 2.5, 1.0]


def test_ranks_spearman():
    assert ranks_module.spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])).item() == 0.5


def test_section_places_of():
    assert (section_module.metric_decimals(0.4, 0.3, 0.5), section_module.metric_decimals(4e-05, 1e-05, 8e-05)) == (
        2,
        6,
    )


def test_section_cut():
    assert (
        section_module.cut(0.9496),
        section_module.cut(1.0),
        section_module.cut(-0.9999),
        section_module.cut(None),
    ) == ("0.949", "1.000", "−0.999", "–")


def test_section_verdicts_are_counted():
    row = dict.fromkeys(("claim", "statement", "requires", "estimate", "interval", "kind"), "")
    verdicts = ["holds", "undecided", "holds"]
    content = {"claims": [row | {"verdict": verdict} for verdict in verdicts], "counts": Counter(verdicts)}
    words = " ".join(fill("claims/section.html.j2", content).split())
    assert "Of 3: 2 hold, 1 is undecided. The criterion" in words


def test_support_lacking():
    import numpy as np

    assert (
        support.lacks_one_condition(np.array([[True, False]] * 40)),
        support.lacks_one_condition(np.array([[True, False], [False, True]] * 20)),
    ) == (True, False)


def test_trees_grow():
    assert trees.grow(np.arange(1.0, 37.0)[None]).heights[0, 0, 1].item() == 1.0


def test_verdict_holm():
    assert verdict.holm([0.01, 0.03, 0.04]).round(3).tolist() == [0.03, 0.06, 0.06]
