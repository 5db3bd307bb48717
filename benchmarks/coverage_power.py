"""Paired recall, equivalence, the joint test of ratios, and power, in worlds of known truth.

A part of `coverage.py`. An image is found under a change if a normal number of the image, half of its variance that of
all changes, is below a limit. In groups, half of that is the group's; a group has four images, and n counts groups.
"""

import itertools
import math
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.stats import t as student

from bench import print_head, print_row
from coverage_pairs import Scenes
from embedshift.arrays import Values
from embedshift.statistics import shift_ratios
from embedshift.statistics.equivalence import Margins, of_ratio, of_recall
from embedshift.statistics.intervals import critical_value, simultaneous_intervals
from embedshift.statistics.judged import EQUIVALENT, NOT_WORSE, Outcomes, judge
from embedshift.statistics.paired import paired_gains
from embedshift.statistics.power import Discordance, plan_for_loss, plan_for_mean, power_of_loss, power_of_mean
from embedshift.statistics.sample import estimates_from_values
from embedshift.study.paired.estimate import judged_estimate
from simulated import holds, rate

SIZES = (20, 50, 200)
PAIRS = [*itertools.combinations(range(4), 2)]
EQUAL, UNEQUAL = (0.95, 0.95, 0.95, 0.95), (0.99, 0.95, 0.9, 0.8)


def found(rng: np.random.Generator, n: int, recalls: Any, frames: int = 1) -> tuple[Values, Any]:
    """Whether views are found, `[images, changes]`, and the groups of the images."""
    source = rng if frames == 1 else Scenes(rng)
    own = source.normal(size=(n * frames, 1 + len(recalls)))
    seen = np.sqrt(0.5) * (own[:, :1] + own[:, 1:])
    limits = np.array([NormalDist().inv_cdf(recall) for recall in recalls])
    return (seen < limits).astype(float), None if frames == 1 else np.repeat(np.arange(n), frames)


def paired_recall(repetitions: int) -> None:
    """Pairs of four changes: any significant where all recalls are .95; all six held; and two encoders."""
    print_head("images", "n", "any significant", "six at once", "two encoders, one change", "mean of four")
    for frames in (1, 4):

        def hit(rng: np.random.Generator, n: int, seed: int, frames: int = frames) -> Values:
            values, groups = found(rng, n, EQUAL, frames)
            error = paired_gains(values, groups, seed=seed).intervals.significant.any()
            values, groups = found(rng, n, UNEQUAL + UNEQUAL[::-1], frames)
            ends = paired_gains(values[:, :4], groups, seed=seed).intervals
            truth = np.array([UNEQUAL[i] - UNEQUAL[j] for i, j in PAIRS])
            first, second = (Outcomes(part[:, None]) for part in (values[:, :4], values[:, 4:]))
            judged = holds(*judge(first, second, groups, seed=seed).interval(), [-0.19, -0.05, 0.05, 0.19, 0.0])
            return np.array([error, holds(ends.low, ends.high, truth).all(), judged[1], judged[4]])

        for n in SIZES:
            cells = (f"{each:.1f}" for each in rate(hit, n, repetitions))
            print_row("independent" if frames == 1 else "in groups of 4", n, *cells)


def deviations(rng: np.random.Generator, kind: str, n: int) -> Values:
    """Numbers of mean 0 and variance 1."""
    if kind == "normal":
        return rng.normal(size=n)
    if kind == "heavy":
        return np.asarray(rng.standard_t(5, size=n) / math.sqrt(5 / 3))
    return np.asarray(
        (rng.lognormal(sigma=0.5, size=n) - math.exp(0.125)) / math.exp(0.125) / math.sqrt(math.expm1(0.25))
    )


def joint_test(repetitions: int) -> None:
    """How often the joint test finds augmentations apart where all nine are 1.2 times as far; and where one is 1.5."""
    print_head("values", "images", *(f"n = {n}" for n in SIZES), "n = 50, one apart")
    for kind, frames in itertools.product(("normal", "heavy", "skewed"), (1, 4)):

        def hit(
            rng: np.random.Generator, size: Any, seed: int, kind: str = kind, frames: int = frames
        ) -> tuple[bool, bool]:
            n = int(size)
            values = np.stack([deviations(rng, kind, n * frames) for _ in range(10)], axis=1)
            if frames > 1:
                values = np.sqrt(0.5) * (values + np.repeat(values[::frames], frames, axis=0))
            groups = None if frames == 1 else np.repeat(np.arange(n), frames)
            ratios = math.log(1.2) + 0.2 * (values[:, :1] + values[:, 1:])
            made = [estimates_from_values(ratios + extra * (np.arange(9) == 3), groups) for extra in (0.0, 0.22)]
            found = [shift_ratios.apart(each, np.ones(9, bool), seed=seed) for each in made]
            return bool(found[0]), 3 in found[1]

        rates = [rate(hit, n, repetitions) for n in SIZES]
        cells = (f"{each:.1f}" for each in (*(each[0] for each in rates), rates[1][1]))
        print_row(kind, "independent" if frames == 1 else "in groups of 4", *cells)


def equivalence(repetitions: int) -> None:
    """How often two encoders are called equivalent, or not worse, that differ by exactly the margin: 5 % at most."""
    print_head("number", "values", *(f"n = {n}" for n in (20, 50, 200, 1_000)))

    def ratio(kind: str, rng: np.random.Generator, n: int, seed: int) -> bool:
        values = math.log(1.05) + 0.1 * deviations(rng, kind, n)
        log_ratio = estimates_from_values(values[:, None])
        return of_ratio(log_ratio, Margins(shift=1.05), seed=seed).outcome == EQUIVALENT

    def recall(lost: float, gained: float, rng: np.random.Generator, n: int, seed: int) -> bool:
        drawn = rng.uniform(size=(n, 1, 1))
        gains = np.where(drawn < lost, -1.0, np.where(drawn > 1 - gained, 1.0, 0.0))
        judged = judge(Outcomes(np.zeros_like(gains)), Outcomes(gains), seed=seed).only(0)
        return of_recall(judged, Margins(recall=lost - gained)).outcome in (EQUIVALENT, NOT_WORSE)

    for name, hit in [("ratio 1.05", partial(ratio, kind)) for kind in ("normal", "heavy", "skewed")] + [
        (f"recall, {lost:g} lost, {gained:g} gained", partial(recall, lost, gained))
        for lost, gained in ((0.01, 0.0), (0.03, 0.02), (0.05, 0.0))
    ]:
        kind = hit.args[0] if isinstance(hit.args[0], str) else "0/1"
        print_row(name, kind, *(f"{float(rate(hit, n, repetitions)):.1f}" for n in (20, 50, 200, 1_000)))


def power(repetitions: int) -> None:
    """Predicted and simulated power, where the prediction has the world's own parameters."""
    print_head("comparison", "n", "effect", "predicted", "simulated")
    worst = 0.0

    def row(name: str, n: int, effect: str, predicted: float, hit: Any) -> None:
        nonlocal worst
        simulated = float(rate(hit, n, repetitions)) / 100
        worst = max(worst, abs(simulated - predicted))
        print_row(name, n, effect, f"{predicted:.3f}", f"{simulated:.3f}")

    for n, loss, differing in ((200, 0.05, 0.1), (1_000, 0.01, 0.01), (1_000, 0.02, 0.1), (5_000, 0.01, 0.05)):

        def one(rng: np.random.Generator, n: int, seed: int, loss: float = loss, differing: float = differing) -> bool:
            drawn = rng.uniform(size=(n, 1, 1))
            gains = np.where(
                drawn < (differing + loss) / 2, -1.0, np.where(drawn > 1 - (differing - loss) / 2, 1.0, 0.0)
            )
            judged = judge(Outcomes(np.zeros_like(gains)), Outcomes(gains), seed=seed)
            return judged_estimate(judged, 0).high < 0

        row("recall of two encoders", n, f"-{loss:g} of {differing:g}", power_of_loss(n, loss, differing), one)
    many = found(np.random.default_rng(1), 1_000_000, UNEQUAL)[0]
    for n, (first, second) in ((200, (0, 2)), (400, (1, 2)), (400, (0, 1)), (800, (1, 2))):
        gains = many[:, first] - many[:, second]
        column = PAIRS.index((first, second))
        seeds = range(20)
        z = np.median([paired_gains(found(np.random.default_rng(s), n, UNEQUAL)[0], seed=s).critical for s in seeds])

        def pair(rng: np.random.Generator, n: int, seed: int, column: int = column) -> bool:
            ends = paired_gains(found(rng, n, UNEQUAL)[0], seed=seed).intervals
            return bool(ends.significant[column] and ends.low[column] > 0)

        predicted = power_of_loss(n, gains.mean(), np.abs(gains).mean(), float(z))
        row(
            "recall of two augmentations of four",
            n,
            f"{gains.mean():.3f} of {np.abs(gains).mean():.3f}",
            predicted,
            pair,
        )
    for kind, n, effect in (("normal", 24, 0.8), ("normal", 100, 0.35), ("heavy", 50, 0.45), ("skewed", 200, 0.2)):

        def drawn(rng: np.random.Generator, n: int, kind: str = kind, effect: float = effect) -> Any:
            values = np.stack([deviations(rng, kind, n) for _ in range(6)], axis=1)
            return estimates_from_values(values + effect * (np.arange(6) == 0))

        seeds = range(20)
        c = float(np.median([critical_value(drawn(np.random.default_rng(s), n), seed=s) for s in seeds]))

        def mean(rng: np.random.Generator, n: int, seed: int, drawn: Any = drawn) -> bool:
            return bool(simultaneous_intervals(drawn(rng, n), seed=seed).low[0] > 0)

        row(
            f"ratio, {kind}, six at once",
            n,
            f"{effect:g} sd",
            power_of_mean(n, effect, 1.0, 2 * student.sf(c, n - 1)),
            mean,
        )
    print(f"\nLargest difference: {worst:.3f}")


def pilots(repetitions: int) -> None:
    """How often n_low to n_high of a pilot holds the n that the world's own parameters give."""
    print_head("comparison", "n of the world", "pilot of 50", "pilot of 200")
    for kind in ("normal", "heavy", "skewed"):
        truth = plan_for_mean(deviations(np.random.default_rng(1), kind, 10**6), 0.1, 1.96).n
        assert truth is not None

        def ratio(rng: np.random.Generator, n: int, seed: int, kind: str = kind, truth: int = truth) -> bool:
            values = deviations(rng, kind, n)
            plan = plan_for_mean(values, 0.1, float(student.ppf(0.975, n - 1)), 0.8)
            return plan.n_low is not None and plan.n_high is not None and plan.n_low <= truth <= plan.n_high

        print_row(f"ratio, {kind}", truth, *(f"{float(rate(ratio, n, repetitions)):.1f}" for n in (50, 200)))
    for differing in (0.02, 0.1, 0.3):
        wanted = plan_for_loss(Discordance(differing, 10**7), 0.02).n
        assert wanted is not None

        def loss(
            rng: np.random.Generator, n: int, seed: int, differing: float = differing, wanted: int = wanted
        ) -> bool:
            plan = plan_for_loss(Discordance(rng.binomial(n, differing) / n, n), 0.02)
            return plan.n_low is not None and plan.n_high is not None and plan.n_low <= wanted <= plan.n_high

        print_row(
            f"recall, {differing:g} differ", wanted, *(f"{float(rate(loss, n, repetitions)):.1f}" for n in (50, 200))
        )
