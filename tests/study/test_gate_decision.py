"""Kept, broken or not decided, and how many images would decide: against slow searches."""

import math

import numpy as np
import pytest
from scipy import stats

from embedshift.statistics.intervals import difference_of_proportions
from embedshift.study.gate.check import proportion_interval
from embedshift.study.gate.result import AT_BOUND, BEYOND, FEW, MORE, NO_INTERVAL, decide, images_needed
from embedshift.study.paired import Estimate
from embedshift.study.paired.estimate import mover, proportion_difference

pytestmark = pytest.mark.slow

INSIDE = Estimate(0.5, 0.4, 0.7, 100)


@pytest.mark.parametrize(
    ("bound", "least", "outcome"),
    [
        (0.39, True, "kept"),
        (0.4, True, "kept"),
        (0.45, True, "undecided"),
        (0.6, True, "undecided"),
        (0.71, True, "broken"),
        (0.71, False, "kept"),
        (0.7, False, "kept"),
        (0.6, False, "undecided"),
        (0.45, False, "undecided"),
        (0.39, False, "broken"),
    ],
)
def test_the_safe_end_decides(bound, least, outcome):
    assert decide(INSIDE, bound, least=least).outcome == outcome


@pytest.mark.parametrize(("bound", "outcome"), [(0.49, "kept"), (0.5, "kept"), (0.51, "broken")])
def test_the_value_decides_where_it_is_asked_to(bound, outcome):
    assert decide(INSIDE, bound, least=True, by_interval=False).outcome == outcome
    assert decide(INSIDE, 1 - bound, least=False, by_interval=False).outcome == outcome
    assert decide(Estimate(0.1 + 0.2, 0.3, 0.3, 9), 0.3, least=False).outcome == "kept", "rounding breaks no rule"


# Lehr: images for a power of 80 %, over those whose interval just leaves out the bound.
IN_80 = ((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) / stats.norm.ppf(0.975)) ** 2


def test_so_many_images_decide_in_four_of_five_studies():
    needed = images_needed(Estimate(0.3, 0.3 - 1.96 / 20**0.5, 0.3 + 1.96 / 20**0.5, 20), 0.0, least=True)
    studies = np.random.default_rng(0).normal(0.3, 1.0, (2_000, needed))
    low = studies.mean(axis=1) - stats.t.ppf(0.975, needed - 1) * studies.std(axis=1, ddof=1) / needed**0.5
    assert 0.77 <= (low >= 0).mean() <= 0.83


def test_how_many_images_would_do_by_the_root():
    """Half of the width below the value is 0.1, above it is 0.2; both shrink by the root."""
    assert images_needed(INSIDE, 0.45, least=True) == math.ceil(IN_80 * 100 * (0.1 / 0.05) ** 2)
    assert decide(INSIDE, 0.6, least=False).images_needed == math.ceil(IN_80 * 100 * (0.2 / 0.1) ** 2)
    assert decide(INSIDE, 0.55, least=False).images_needed == math.ceil(IN_80 * 100 * (0.2 / 0.05) ** 2)
    assert decide(INSIDE, 0.5, least=True) == decide(INSIDE, 0.5, least=False)
    assert decide(INSIDE, 0.5, least=True).images_needed is None
    assert decide(INSIDE, 0.5, least=True).note == AT_BOUND


def test_how_many_images_would_do_of_a_proportion_by_the_binomial_law():
    """The least number of images, all found, whose exact interval begins at 0.99: searched one by one."""
    images = 200
    low, high = proportion_interval(1.0)(images)
    assert low == pytest.approx(stats.binomtest(images, images).proportion_ci(method="exact").low)
    found = Estimate(1.0, low, high, images, proportion_interval(1.0))
    wanted = next(n for n in range(images, 2_000) if stats.binomtest(n, n).proportion_ci(method="exact").low >= 0.99)
    assert decide(found, 0.99, least=True).images_needed == wanted
    assert images_needed(Estimate(1.0, low, high, images), 0.99, least=True) != wanted, "the root is no guide near 1"


def test_how_many_images_would_do_of_paired_proportions():
    found = proportion_difference(np.array([-1.0] + [0.0] * 199))
    wanted = next(n for n in range(200, 400) if difference_of_proportions(0, n / 200, n)[0] >= -0.025)
    assert decide(found, -0.025, least=True).images_needed == math.ceil(IN_80 * wanted)
    assert decide(found, -0.03, least=True).outcome == "kept"


def test_without_an_interval_nothing_is_decided():
    nothing = Estimate(0.9, math.nan, math.nan, 7)
    assert decide(nothing, 0.5, least=True).note == FEW
    assert decide(nothing, 0.5, least=True).images_needed == 8
    assert decide(nothing, 0.5, least=True, by_interval=False).outcome == "kept"
    assert decide(Estimate(0.9, math.nan, math.nan, 70), 0.5, least=True).note == NO_INTERVAL
    assert decide(Estimate(math.nan, math.nan, math.nan, 70), 0.5, least=True, by_interval=False).outcome == "undecided"


# A tolerance that is not reached: its parameter rises to 5, or falls to 5.
UP = Estimate(math.inf, 4.2, math.inf, 40, edge=5.0)
DOWN = Estimate(-math.inf, -math.inf, 7.5, 40, edge=5.0)


@pytest.mark.parametrize(
    ("found", "bound", "least", "outcome", "note"),
    [
        (UP, 4.0, True, "kept", ""),
        (UP, 4.5, True, "undecided", MORE),
        (UP, 6.0, True, "undecided", BEYOND),
        (UP, 4.0, False, "broken", ""),
        (UP, 4.5, False, "undecided", MORE),
        (UP, 6.0, False, "undecided", BEYOND),
        (DOWN, 8.0, False, "kept", ""),
        (DOWN, 6.0, False, "undecided", MORE),
        (DOWN, 4.0, False, "undecided", BEYOND),
        (DOWN, 8.0, True, "broken", ""),
        (DOWN, 6.0, True, "undecided", MORE),
        (DOWN, 4.0, True, "undecided", BEYOND),
    ],
)
def test_what_is_not_reached_lies_somewhere_beyond_the_strongest_level(found, bound, least, outcome, note):
    decision = decide(found, bound, least=least)
    assert (decision.outcome, decision.note, decision.images_needed) == (outcome, note, None)


def test_by_its_value_it_is_at_least_the_strongest_level():
    assert decide(UP, 4.9, least=True, by_interval=False).outcome == "kept"
    assert decide(UP, 4.9, least=False, by_interval=False).outcome == "broken"
    assert decide(UP, 5.1, least=True, by_interval=False).outcome == "undecided"
    assert decide(DOWN, 5.1, least=False, by_interval=False).outcome == "kept"
    assert decide(DOWN, 4.9, least=False, by_interval=False).outcome == "undecided"


def test_an_end_beyond_the_strongest_level_cannot_be_found_by_more_images_alone():
    found = Estimate(4.8, 4.3, math.inf, 40, edge=5.0)
    assert decide(found, 4.0, least=True).outcome == "kept"
    assert decide(found, 4.5, least=True).images_needed == math.ceil(IN_80 * math.ceil(40 * (0.5 / 0.3) ** 2))
    assert decide(found, 4.9, least=False).note == BEYOND


@pytest.mark.matrix
def test_two_intervals_of_numbers_that_are_independent_cover_their_difference():
    rng = np.random.default_rng(0)
    own, other = rng.normal(3.0, 2.0, (2_000, 40)), rng.normal(1.0, 1.0, (2_000, 40))
    hits = 0
    for a, b in zip(own, other, strict=True):
        ends = [[x.mean(), *stats.ttest_1samp(x, 0).confidence_interval(0.95)] for x in (a, b)]
        found = mover(*ends, 40)
        hits += found.low <= 2.0 <= found.high
    assert 0.94 <= hits / 2_000 <= 0.97
