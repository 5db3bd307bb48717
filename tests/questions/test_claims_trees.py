"""Claims: the conditions on trees against SciPy's, the rule of verdicts, and their rates in simulated worlds."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from embedshift.questions.claims.evidence import DISTANCES, Bootstrap, distance, gather, grow
from embedshift.questions.claims.kinds import alone, branch, lacks_one_condition
from embedshift.questions.claims.tables import verdicts
from support.claims_simulated import OF_THE_REST, exchangeable, ordered, true_claims, unequal
from support.claims_world import GEOMETRIC, NAMES, branch_inside, noise_alone, paper_tree

PAIRS = list(itertools.combinations(NAMES, 2))


def near_the_paper(count, spread, seed=0):
    """Distances `[count, 36]` around those of the paper's tree."""
    far = np.array([paper_tree()[frozenset(pair)] for pair in PAIRS])
    far = np.where(far == 1.0, 0.55, far)
    return far + np.random.default_rng(seed).uniform(0, spread, (count, 36))


@pytest.mark.parametrize(
    ("claim", "read", "count"),
    [
        (alone("noise"), noise_alone, 8 + 28),
        (branch(GEOMETRIC, without="noise"), lambda row: branch_inside(row, GEOMETRIC), 7 + 2),
    ],
)
def test_all_conditions_together_are_the_claim(claim, read, count):
    distances = near_the_paper(600, 0.35)
    shown = claim.conditions(grow(distances))
    assert shown.shape == (600, count)
    expected = [read(row) for row in distances]
    assert shown.all(axis=1).tolist() == expected
    assert 30 < sum(expected) < 570


def of_the_branch(far, spread=0.02, images=40, wobble=None):
    rng = np.random.default_rng(0)
    block = {}
    for pair in PAIRS:
        normal = rng.normal(size=(images, 1))
        normal = (normal - normal.mean()) / normal.std(ddof=1)
        block[distance(*pair)] = far[frozenset(pair)] + (wobble or {}).get(frozenset(pair), spread) * normal
    claim = branch(GEOMETRIC, without="noise")
    return claim.find(Bootstrap(gather([block]), claim.contrasts, seed=0, resamples=999))


def test_a_branch_holds_and_does_not_hold_where_one_outsider_is_nearer():
    pair = frozenset(("elastic", "perspective"))
    right, wrong = of_the_branch(paper_tree()), of_the_branch(paper_tree() | {pair: 0.05})
    assert (right.estimate, right.shown, right.p) == (1.0, (True, False), (0.001, 0.001))
    assert (wrong.estimate, wrong.shown, wrong.p) == (0.0, (False, True), (0.001, 0.001))


def test_failing_in_one_way_or_another_is_not_the_failure_of_one_condition():
    """Three outsiders are as near as the branch is tight: most trees fail, but no single condition always does."""
    ties = {frozenset((name, "perspective")): 0.1 for name in ("elastic", "blur", "color_jitter")}
    found = of_the_branch(paper_tree() | ties, wobble=dict.fromkeys([*ties, frozenset(GEOMETRIC)], 0.1))
    assert found.estimate < 0.5
    assert found.shown == (False, False)


@pytest.mark.matrix
@pytest.mark.slow
def test_a_branch_that_is_true_by_a_hair_is_rarely_denied():
    ties = {frozenset(("blur", name)): 0.1 for name in GEOMETRIC} | {frozenset(GEOMETRIC): 0.0999}
    far = np.array([(paper_tree() | ties)[frozenset(pair)] for pair in PAIRS])
    claim, denied, unbound = branch(GEOMETRIC, without="noise"), 0, 0
    assert claim.conditions(grow(far[None])).all()
    for seed in range(80):
        rng = np.random.default_rng(seed)
        values = far + 0.1 * rng.standard_normal((50, 36))
        shown = claim.conditions(grow(rng.multinomial(50, [1 / 50] * 50, size=400) / 50 @ values))
        denied += lacks_one_condition(shown)
        unbound += (~shown).mean(axis=0).max() >= 0.95
    assert denied <= binom.ppf(0.999, 80, 0.05)
    assert unbound > binom.ppf(0.9, 80, 0.05), "the correction for the number of conditions is what keeps it rare"


def test_distances_that_do_not_differ_show_nothing():
    equal = dict.fromkeys((frozenset(pair) for pair in PAIRS), 0.4)
    assert of_the_branch(equal).p[0] > 0.99
    assert of_the_branch(equal, spread=0.0) is None
    assert of_the_branch(dict.fromkeys(equal, 0.0), spread=0.0) is None


def test_a_missing_distance_is_not_testable():
    rng = np.random.default_rng(0)
    block = {key: rng.uniform(size=(30, 1)) for key in DISTANCES}
    claim = alone("noise")
    for last in (dict(list(block.items())[1:]), block | {DISTANCES[0]: np.full((30, 1), np.nan)}):
        assert claim.find(Bootstrap(gather([last]), claim.contrasts, seed=0, resamples=99)) is None
    assert claim.find(Bootstrap(gather([block]), claim.contrasts, seed=0, resamples=99)) is not None


GIVEN = ("holds", "does not hold")


def page(block, seed):
    return dict(verdicts(gather([block]), seed=seed, resamples=4_999).select("claim", "verdict").iter_rows())


def most(repetitions, rate):
    """More of them than this would be seen once in a thousand runs."""
    return binom.ppf(0.999, repetitions, rate)


@pytest.mark.slow
@pytest.mark.matrix
@pytest.mark.parametrize(("images", "repetitions"), [(20, 30), (50, 20)])
def test_where_nothing_is_true_a_page_rarely_has_a_verdict(images, repetitions):
    pages = [page(exchangeable(images, 1_000 + seed), seed) for seed in range(repetitions)]
    assert sum(any(verdict in GIVEN for verdict in one.values()) for one in pages) <= most(repetitions, 0.0725)


@pytest.mark.slow
@pytest.mark.matrix
def test_unequal_spreads_are_found_and_equal_means_are_left_alone():
    pages = [page(unequal(50, 1_000 + seed), seed) for seed in range(15)]
    mean_interval = [part for part in pages[0] if part not in (*OF_THE_REST,)]
    assert sum(any(one[part] in GIVEN for part in mean_interval) for one in pages) <= most(15, 0.0725)
    assert sum(one["6a"] == "holds" for one in pages) >= 3


@pytest.mark.slow
def test_what_is_true_holds_and_is_not_denied():
    pages = [page(ordered(200, seed, by=0.5), seed) for seed in range(6)]
    for seed, one in enumerate(pages):
        assert sum(one[part] == "holds" for part in true_claims(seed)) >= 0.8 * len(true_claims(seed))
        assert not any(one[part] == "does not hold" for part in (*true_claims(seed), *OF_THE_REST))


@pytest.mark.slow
@pytest.mark.matrix
def test_what_is_hardly_true_is_not_denied():
    repetitions = 15
    pages = [page(ordered(20, 500 + seed, by=0.1), seed) for seed in range(repetitions)]
    for part in ("1a", "2a", "3a", "3b", "4b", "9a"):
        assert sum(one[part] == "does not hold" for one in pages) <= most(repetitions, 0.05)
