"""Claims: rates of right and wrong verdicts in simulated worlds; `benchmarks/claims.py` has more repetitions."""

import pytest
from scipy.stats import binom

from embedshift.questions.claims.evidence import gather
from embedshift.questions.claims.tables import verdicts
from support.claims_simulated import OF_THE_REST, exchangeable, ordered, true_claims, unequal

pytestmark = pytest.mark.slow

GIVEN = ("holds", "does not hold")


def page(block, seed):
    return dict(verdicts(gather([block]), seed=seed, resamples=4_999).select("claim", "verdict").iter_rows())


def most(repetitions, rate):
    """More of them than this would be seen once in a thousand runs."""
    return binom.ppf(0.999, repetitions, rate)


@pytest.mark.matrix
@pytest.mark.parametrize(("images", "repetitions"), [(20, 30), (50, 20)])
def test_where_nothing_is_true_a_page_rarely_has_a_verdict(images, repetitions):
    pages = [page(exchangeable(images, 1_000 + seed), seed) for seed in range(repetitions)]
    assert sum(any(verdict in GIVEN for verdict in one.values()) for one in pages) <= most(repetitions, 0.0725)


@pytest.mark.matrix
def test_unequal_spreads_are_found_and_equal_means_are_left_alone():
    pages = [page(unequal(50, 1_000 + seed), seed) for seed in range(15)]
    mean_interval = [part for part in pages[0] if part not in (*OF_THE_REST,)]
    assert sum(any(one[part] in GIVEN for part in mean_interval) for one in pages) <= most(15, 0.0725)
    assert sum(one["6a"] == "holds" for one in pages) >= 3


def test_what_is_true_holds_and_is_not_denied():
    pages = [page(ordered(200, seed, by=0.5), seed) for seed in range(6)]
    for seed, one in enumerate(pages):
        assert sum(one[part] == "holds" for part in true_claims(seed)) >= 0.8 * len(true_claims(seed))
        assert not any(one[part] == "does not hold" for part in (*true_claims(seed), *OF_THE_REST))


@pytest.mark.matrix
def test_what_is_hardly_true_is_not_denied():
    repetitions = 15
    pages = [page(ordered(20, 500 + seed, by=0.1), seed) for seed in range(repetitions)]
    for part in ("1a", "2a", "3a", "3b", "4b", "9a"):
        assert sum(one[part] == "does not hold" for one in pages) <= most(repetitions, 0.05)
