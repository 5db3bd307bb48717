"""Planned numbers of images: against SciPy's distributions, sums over all outcomes, and searches one by one."""

import itertools
import math

import numpy as np
import polars as pl
import pytest
from scipy import integrate, stats

from embedshift.statistics import power
from embedshift.statistics.intervals import difference_of_proportions
from embedshift.statistics.power import Discordance, Planned, power_of_loss, power_of_mean, sd_with_ends
from support.matrix import first_only

Z95 = stats.norm.ppf(0.975)
SAMPLES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "t": lambda rng, n: rng.standard_t(6, n) * (2 / 3) ** 0.5,
    "exponential": lambda rng, n: rng.exponential(size=n),
}


def slow_power_of_mean(images, effect, sd, level):
    """By the noncentral t, both tails."""
    critical, law = stats.t.isf(level / 2, images - 1), stats.nct(images - 1, effect * images**0.5 / sd)
    return law.sf(critical) + law.cdf(-critical)


def slow_power_of_loss(images, loss, differing, critical):
    """By a sum over all numbers of images that are lost, and that are gained."""
    total, lost, gained = 0.0, (differing + loss) / 2, (differing - loss) / 2
    for b in range(images + 1):
        c = np.arange(images - b + 1)
        others = stats.binom.pmf(c, images - b, gained / (1 - lost))
        is_found = stats.binom.sf(b - 1, b + c, 0.5) <= stats.norm.sf(critical)  # of the exact sign test
        total += stats.binom.pmf(b, images, lost) * others[is_found].sum()
    return total


def power_of_equivalence(images, effect, sd, margin):
    """Of two one-sided t-tests: an integral over the estimated standard deviation."""
    error, critical, root = sd / images**0.5, stats.t.ppf(0.95, images - 1), (images - 1) ** 0.5

    def given(ratio):
        free = margin - critical * error * ratio
        inside = stats.norm.cdf((free - effect) / error) - stats.norm.cdf((-free - effect) / error)
        return max(0.0, inside) * stats.chi.pdf(ratio * root, images - 1) * root

    return integrate.quad(given, 0, 3, limit=200, points=[1.0])[0]


def test_the_power_of_a_mean_is_that_of_the_noncentral_t():
    for images, away, level in itertools.product((8, 34, 1_000), (0.1, 1.0, 2.8, -4.0), (0.05, 0.005)):
        wanted = slow_power_of_mean(images, away / images**0.5, 1.0, level)
        assert power_of_mean(images, away / images**0.5, 1.0, level) == pytest.approx(wanted, abs=1e-10)
    for images, away in itertools.product((1_001, 10**8), (0.5, 2.8, 20.0)):
        wanted = stats.norm.sf(Z95 - away) + stats.norm.cdf(-Z95 - away)
        assert power_of_mean(images, 3 * away / images**0.5, 3.0, 0.05) == pytest.approx(wanted, abs=1.5e-3)


def test_the_power_of_a_loss_is_a_sum_over_all_outcomes():
    for setting in ((60, 0.1, 0.2), (60, 0.05, 0.4), (37, 0.3, 0.3), (12, 0.5, 0.9), (60, 0.0, 0.5)):
        for critical in (Z95, 2.6):
            wanted = slow_power_of_loss(*setting, critical)
            assert power_of_loss(*setting, critical) == pytest.approx(wanted, abs=1e-10)
    number = np.arange(9_000, 11_900)  # where the normal law takes over
    lost = stats.binom.sf(np.floor((number + Z95 * np.sqrt(number)) / 2), number, (1 + 0.007 / 0.26) / 2)
    wanted = (stats.binom.pmf(number, 40_000, 0.26) * lost).sum()
    assert power_of_loss(40_000, 0.007, 0.26) == pytest.approx(wanted, abs=0.005)


def test_mcnemar_and_tango_find_the_same_losses():
    for gained, lost in itertools.product(range(16), repeat=2):
        low, high = difference_of_proportions(gained, lost, 30)
        assert (low > 0 or high < 0) == (abs(gained - lost) > Z95 * math.sqrt(gained + lost)), (gained, lost)


def test_the_least_number_of_images_is_that_of_a_search_one_by_one():
    for first, least in itertools.product((1, 8, 60), (1, 8, 9, 100, 1_000)):
        assert power.least_images(lambda n, least=least: n >= least, first) == max(first, least)
    assert power.least_images(lambda n: False) is None
    ratio = (Z95 + stats.norm.ppf(0.8)) / Z95
    assert power.times_more() == pytest.approx(ratio**2, abs=1e-12)
    assert power.times_more(3.0, 0.5) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_standard_deviation_has_bonett_s_interval(name):
    several = np.stack([SAMPLES[name](np.random.default_rng(seed), 37) for seed in range(3)], axis=1)
    for values in (several, several[:, :1], np.linspace(-1, 1, 37)[:, None]):
        n, variances, kurtoses = len(values), [], []
        for sample in values.T:
            middle, squares = stats.trim_mean(sample, 1 / (2 * math.sqrt(n - 4))), sum((sample - sample.mean()) ** 2)
            variances.append(squares / (n - 1))
            kurtoses.append(n * sum((x - middle) ** 4 for x in sample) / squares**2)
        larger = n / (n - Z95)
        error = larger * math.sqrt(max(np.mean(kurtoses) - (n - 3) / n, 1) / (n - 1))
        ends = (math.log(larger * np.mean(variances)) + stats.norm.ppf(p) * error for p in (0.0125, 0.9875))
        wanted = (np.mean(variances) ** 0.5, *(math.exp(end / 2) for end in ends))
        assert sd_with_ends(values) == pytest.approx(wanted, rel=1e-10)
    rng = np.random.default_rng(1)
    low, high = np.array([sd_with_ends(SAMPLES[name](rng, 50))[1:] for _ in range(600)]).T
    assert 0.9 - 3 * (0.9 * 0.1 / 600) ** 0.5 < ((low < 1) & (high > 1)).mean() < 1, "of 50 images"


def test_a_plan_is_a_search_over_images():
    values, critical = np.random.default_rng(3).normal(0.0, 0.4, 24), 2.7
    level = 2 * stats.t.sf(critical, 23)
    wanted = [
        next(n for n in range(8, 500) if slow_power_of_mean(n, math.log(1.2), sd, level) >= 0.9)
        for sd in sd_with_ends(values)
    ]
    assert power.plan_for_mean(values, math.log(1.2), critical, 0.9) == Planned(*wanted)
    assert power.plan_for_mean(1e-3 * values, math.log(1.2), critical) == Planned(8, 8, 8), "no interval of fewer"


@pytest.mark.parametrize(("growth", "others"), first_only([(0.4, 500), (0.0, 0), (0.4, 0)]))
def test_a_plan_for_a_loss_is_a_search_over_images(growth, others):
    pilot, wanted = Discordance(0.3, 90, growth, 90 + others, others), []
    for each in (0.3, stats.beta.ppf(0.025, 27, 64), stats.beta.ppf(0.975, 28, 63)):
        differing = (each * (1 + growth * math.log((n + others) / (90 + others))) + 0.28 for n in range(8, 300))
        powers = enumerate((slow_power_of_loss(n, 0.28, p, 2.2) for n, p in enumerate(differing, 8)), 8)
        wanted.append(next(n for n, chance in powers if chance >= 0.8))
    found = power.plan_for_loss(pilot, 0.28, 2.2)
    assert found == Planned(*wanted)
    assert found.times(2.5) == Planned(*(math.ceil(2.5 * n) for n in wanted))
    six = power.plan_for_loss(Discordance(0.0, 200), 0.01).n
    assert stats.binom.sf(5, [six - 1, six], 0.01) == pytest.approx(0.8, abs=1e-3), "where all are lost, six are"


def test_a_fraction_that_differs_by_chance_is_not_too_small():
    rng, both = np.random.default_rng(0), (0.05, 0.03)
    drawn = rng.multinomial(400, [*both, 1 - sum(both)], 4_000)[:, :2] / 400
    found = [Discordance.of(*each, pilot=400, growth=0.0, others=0).fraction for each in drawn]
    assert np.mean(found) == pytest.approx(2 * min(both), rel=0.12)
    equal = rng.multinomial(400, [0.04, 0.04, 0.92], 4_000)[:, :2] / 400
    found = [Discordance.of(*each, pilot=400, growth=0.0, others=0).fraction for each in equal]
    assert np.mean(found) == pytest.approx(0.08, rel=0.12)
    assert np.mean(2 * equal.min(axis=1)) < 0.95 * np.mean(found)


def test_a_range_of_one_number_is_none():
    names = ("table", "augmentation", "metric", "effect", "power", "n", "n_low", "n_high")
    rows = [("comparison", "a", "recall@1", 0.01, 0.8, 110, *ends) for ends in ((110, 110), (100, 120))]
    said = [next(power.planned(pl.DataFrame([row], names, orient="row")))[-1] for row in rows]
    assert said == ["-", "100 to 120"]


@pytest.mark.slow
def test_so_many_images_show_equivalence_or_none_in_four_of_five_studies():
    for effect in (0.0, 0.02, -0.03):
        found = power.images_for_equivalence(effect, 0.3, 0.1)
        exact = [power_of_equivalence(n, effect, 0.3, 0.1) for n in (found - 3, found, found + 3)]
        assert exact[0] < exact[1] < exact[2]
        assert exact[1] == pytest.approx(0.8, abs=0.02)
    found = power.images_for_equivalence(-0.2, 0.3, 0.1)
    one_sided = stats.nct.sf(stats.t.ppf(0.95, found - 1), found - 1, 0.1 * found**0.5 / 0.3)
    assert one_sided == pytest.approx(0.8, abs=0.01), "not equivalent"
    assert power.images_for_equivalence(0.1, 0.3, 0.1) is None, "at the margin neither is true"
