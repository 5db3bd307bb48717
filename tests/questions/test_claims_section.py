"""Claims in the report: numbers that do not contradict their verdict, and what each verdict takes."""

import polars as pl
import pytest

from embedshift.questions.claims.kinds import SCHEMA
from embedshift.questions.claims.section import claim_rows
from embedshift.questions.claims.tables import paper_claims


def row(estimate, low, high, verdict, claim="1a"):
    given = {"claim": claim, "estimate": estimate, "ci_low": low, "ci_high": high, "verdict": verdict}
    (found,) = claim_rows(pl.DataFrame([given], schema=SCHEMA))
    return found


@pytest.mark.parametrize(
    ("estimate", "verdict", "text"),
    [
        (0.9496, "undecided", "0.949"),
        (0.95, "holds", "0.950"),
        (0.99996, "undecided", "0.999"),
        (1.0, "holds", "1.000"),
        (-0.9999, "does not hold", "−0.999"),
        (0.0, "does not hold", "0.000"),
        (None, "not testable", "–"),
    ],
)
def test_fractions_are_cut_and_not_rounded(estimate, verdict, text):
    found = row(estimate, None, None, verdict)
    assert (found["estimate"], found["interval"]) == (text, "–")


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        ((0.00004, 0.00001, 0.00008), ("0.000040", "0.000010 to 0.000080")),
        ((0.4, 0.004, 0.9), ("0.400", "0.004 to 0.900")),
        ((-3.0, -3.5, -2.5), ("−3.00", "−3.50 to −2.50")),
        ((3.0, 3.0, 3.0), ("3.000", "3.000 to 3.000")),
        ((0.0, -0.02, 0.03), ("0.000", "−0.020 to 0.030")),
    ],
)
def test_no_end_of_an_interval_reads_as_0_that_is_not(numbers, texts):
    found = row(*numbers, "undecided")
    assert (found["estimate"], found["interval"]) == texts


def test_numbers_of_augmentations_and_ranks_are_whole():
    assert [row(*each, "undecided", "11a")["estimate"] for each in ((2.0, 1.0, 4.0), (2.0, None, None))] == ["2", "2"]
    assert row(8.0, 7.0, 9.0, "does not hold", "12a")["interval"] == "7 to 9"
    assert row(None, None, None, "not testable", "12b")["estimate"] == "–"


def test_every_claim_says_in_a_few_words_what_each_verdict_takes():
    for claim in paper_claims():
        requires = claim.test.requires
        assert requires.startswith("Holds if")
        assert "Does not hold if " in requires
        assert len(requires) < 320, claim.name
