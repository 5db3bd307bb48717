"""Kept, broken or not decided, and how many images would decide: against slow searches."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy import stats

from embedshift.questions.check.check import images_of_proportion
from embedshift.questions.check.result import (
    AT_BOUND,
    BEYOND,
    BY_CHANCE,
    FEW,
    MORE,
    NO_INTERVAL,
    NO_VALUE,
    RuleResult,
    corrected,
    decide,
    images_needed,
    outcome_of,
)
from embedshift.statistics.power import Discordance, plan_for_loss
from embedshift.study.paired import Estimate
from embedshift.study.paired.estimate import mover, proportion_difference

INSIDE = Estimate(0.5, 0.4, 0.7, 100)
# Tolerances that are not reached: the parameter rises to 5, or falls to 5; of the third the interval's end alone.
UP = Estimate(math.inf, 4.2, math.inf, 40, edge=5.0)
DOWN = Estimate(-math.inf, -math.inf, 7.5, 40, edge=5.0)
OPEN = Estimate(4.8, 4.3, math.inf, 40, edge=5.0)
SEVEN, EQUAL, NONE = (Estimate(value, math.nan, math.nan, n) for value, n in ((0.9, 7), (0.9, 70), (math.nan, 70)))
# An estimate, whether the bound is the least, and bounds with what is decided: "undecided", or why more images do not.
BY_INTERVAL = [
    (INSIDE, True, {0.39: "kept", 0.4: "kept", 0.45: "undecided", 0.5: AT_BOUND, 0.6: "undecided", 0.71: "broken"}),
    (INSIDE, False, {0.71: "kept", 0.7: "kept", 0.6: "undecided", 0.5: AT_BOUND, 0.45: "undecided", 0.39: "broken"}),
    (UP, True, {4.0: "kept", 4.5: MORE, 6.0: BEYOND}),
    (UP, False, {4.0: "broken", 4.5: MORE, 6.0: BEYOND}),
    (DOWN, False, {8.0: "kept", 6.0: MORE, 4.0: BEYOND}),
    (DOWN, True, {8.0: "broken", 6.0: MORE, 4.0: BEYOND}),
    (OPEN, True, {4.0: "kept", 4.5: "undecided"}),
    (OPEN, False, {4.9: BEYOND}),
    (SEVEN, True, {0.5: f"{FEW}, 8"}),
    (EQUAL, True, {0.5: NO_INTERVAL}),
    (NONE, True, {0.5: NO_VALUE}),
]
BY_VALUE = [
    (INSIDE, True, {0.49: "kept", 0.5: "kept", 0.51: "broken"}),
    (INSIDE, False, {0.51: "kept", 0.5: "kept", 0.49: "broken"}),
    (Estimate(0.1 + 0.2, 0.1, 0.9, 9), False, {0.3: "kept"}),  # rounding breaks no rule
    (UP, True, {4.9: "kept", 5.1: MORE}),
    (UP, False, {4.9: "broken"}),
    (DOWN, False, {5.1: "kept", 4.9: MORE}),
    (SEVEN, True, {0.5: "kept"}),
    (NONE, True, {0.5: NO_VALUE}),
]


@pytest.mark.parametrize(("cases", "by_interval"), [(BY_INTERVAL, True), (BY_VALUE, False)], ids=["interval", "value"])
def test_the_safe_end_decides_or_the_value(cases, by_interval):
    for number, (found, least, bounds) in enumerate(cases):
        for bound, said in bounds.items():
            decision = decide(found, bound, least=least, by_interval=by_interval)
            outcome = said if said in ("kept", "broken") else "undecided"
            images = decision.images_needed
            assert decision.outcome == outcome, (number, bound)
            if by_interval:
                words = f"{decision.note}, {images}" if decision.note == FEW else decision.note or outcome
                assert words == said, (number, bound)
                assert (images is not None) == (said == "undecided" or found is SEVEN), (number, bound)


def made_result(rule, p, outcome="broken", images=100):
    of = {"number": 1, "table": "search", "row": {}, "column": "value", "unit": "", "operator": "may_fall", "bound": 0}
    of |= {"judge": "interval", "value": -0.1, "low": -0.2, "high": -0.01, "images": images, "note": ""}
    return RuleResult(rule=rule, outcome=outcome, images_needed=None, p=p, **of)


def test_a_paired_rule_may_be_worse_and_rules_that_fail_by_chance_are_undecided():
    for ends, bound, wanted in (
        ((-0.04, -0.005), -0.01, "worse"),
        ((-0.04, -0.015), -0.01, "broken"),
        ((-0.04, 0.001), -0.01, "undecided"),
        ((-0.009, -0.005), -0.01, "kept"),
        ((0.001, 0.04), 0.05, "broken"),  # a gain is asked for
    ):
        turned = tuple(-end for end in ends[::-1])
        assert outcome_of(ends, bound, least=True, same=0.0) == wanted, (ends, bound)
        assert outcome_of(turned, -bound, least=False, same=0.0) == wanted, (ends, bound)
    p = {"a": 0.01, "b": 0.04, "c": 0.02, "d": 0.5, "no test": None}
    found = [made_result(name, each) for name, each in p.items()]
    made = {each.rule: each for each in corrected(found)}
    assert {name: each.outcome for name, each in made.items() if each.outcome == "broken"} == dict.fromkeys(
        ("a", "no test"), "broken"
    )
    assert [each.p for each in made.values()] == [0.04, 0.08, 0.06, 0.5, None], "Holm"
    z = stats.norm.ppf([1 - 0.025 / 4, 0.8, 1 - 0.02 / 2])
    assert (made["c"].note, made["c"].images_needed) == (BY_CHANCE, math.ceil(100 * ((z[0] + z[1]) / z[2]) ** 2))


# Lehr: images for a power of 80 %, over those whose interval just leaves out the bound.
IN_80 = ((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) / stats.norm.ppf(0.975)) ** 2


def test_so_many_images_decide_in_four_of_five_studies():
    needed = images_needed(Estimate(0.3, 0.3 - 1.96 / 20**0.5, 0.3 + 1.96 / 20**0.5, 20), 0.0, least=True)
    studies = np.random.default_rng(0).normal(0.3, 1.0, (2_000, needed))
    low = studies.mean(axis=1) - stats.t.ppf(0.975, needed - 1) * studies.std(axis=1, ddof=1) / needed**0.5
    assert 0.77 <= (low >= 0).mean() <= 0.83


def test_how_many_images_would_do():
    # By the root: half of the width below the value is 0.1, above it is 0.2.
    assert images_needed(INSIDE, 0.45, least=True) == math.ceil(IN_80 * 100 * (0.1 / 0.05) ** 2)
    assert decide(INSIDE, 0.6, least=False).images_needed == math.ceil(IN_80 * 100 * (0.2 / 0.1) ** 2)
    assert decide(INSIDE, 0.55, least=False).images_needed == math.ceil(IN_80 * 100 * (0.2 / 0.05) ** 2)
    assert decide(OPEN, 4.5, least=True).images_needed == math.ceil(IN_80 * 40 * (0.5 / 0.3) ** 2)

    # Of a proportion: the least number of images, all found, whose exact interval begins at 0.99, one by one.
    images = 200
    low, high = stats.binomtest(images, images).proportion_ci(method="exact")
    found = Estimate(1.0, low, high, images, plan=partial(images_of_proportion, 1.0, images))
    wanted = next(n for n in range(images, 2_000) if stats.binomtest(n, n).proportion_ci(method="exact").low >= 0.99)
    assert decide(found, 0.99, least=True).images_needed == wanted
    assert images_needed(Estimate(1.0, low, high, images), 0.99, least=True) != wanted, "the root is no guide near 1"
    high = [stats.binomtest(round(0.3 * n), n).proportion_ci(method="exact").high for n in range(200, 2_000, 10)]
    wanted = next(200 + 10 * place for place, end in enumerate(high) if end <= 0.33)
    plan = partial(images_of_proportion, 0.3, 200)
    assert plan(0.33) == pytest.approx(IN_80 * wanted, abs=IN_80 * 10)
    assert plan(0.27) == pytest.approx(plan(0.33), rel=0.1)


def sign_test_finds(images, loss, equal, level):
    """The power of the exact sign test, where a part of the images differs without a loss, and more with it."""
    number, differing = np.arange(1, images + 1), equal + loss
    lost = stats.binom.sf(stats.binom.isf(level / 2, number, 0.5), number, (equal / 2 + loss) / differing)
    return float((stats.binom.pmf(number, images, differing) * lost).sum())


def of_gains(gained, lost, images=200):
    return proportion_difference(np.repeat([1.0, -1.0, 0.0], [gained, lost, images - gained - lost]))


def test_a_paired_rule_needs_as_many_images_as_power_plans():
    equal = of_gains(3, 3)
    for bound in (-0.01, -0.02):
        needed = decide(equal, bound, least=True, same=0.0).images_needed
        assert needed == plan_for_loss(Discordance(0.03, 200), -bound).n
        less, enough = (sign_test_finds(n, -bound, 0.03, 0.05) for n in (needed - 1, needed))
        assert less < 0.8 <= enough, bound
        assert decide(equal, -bound, least=False, same=0.0).images_needed == needed
    assert images_needed(equal, 0.0, least=True, same=0.0) is None, "no number shows that nothing is lost"


@pytest.mark.parametrize("tests", [1, 20])
def test_a_loss_needs_more_images_where_more_rules_are_tested(tests):
    worse = of_gains(20, 34)
    assert decide(worse, -0.01, least=True, same=0.0).images_needed is None
    one = made_result("worse", worse.p, outcome="undecided", images=200)
    first, *_ = corrected([one, *(made_result("equal", 1.0, outcome="kept") for _ in range(tests - 1))])
    z = stats.norm.isf([0.025 / tests, 0.2, worse.p / 2])
    assert first.images_needed == math.ceil(200 * ((z[0] + z[1]) / z[2]) ** 2)
    drawn = np.random.default_rng(0).multinomial(first.images_needed, [0.1, 0.17, 0.73], 4_000)
    p = np.minimum(1, 2 * stats.binom.sf(drawn[:, 1] - 1, drawn[:, 0] + drawn[:, 1], 0.5))
    assert 0.78 <= (p <= 0.05 / tests).mean() <= 0.9, "80 %, or more: the exact test of the pilot is cautious"
    within = replace(one, images_needed=30)
    assert next(corrected([within])).images_needed == 30, "fewer show that it is within the bound"


@pytest.mark.slow
def test_two_intervals_of_numbers_that_are_independent_cover_their_difference():
    rng = np.random.default_rng(0)
    drawn = rng.normal(3.0, 2.0, (2_000, 40)), rng.normal(1.0, 1.0, (2_000, 40))
    ends = [[x.mean(axis=1), *stats.ttest_1samp(x, 0, axis=1).confidence_interval(0.95)] for x in drawn]
    found = [mover(own, other, 40) for own, other in zip(*(np.transpose(each) for each in ends), strict=True)]
    assert 0.94 <= np.mean([each.low <= 2.0 <= each.high for each in found]) <= 0.97
