"""Do the intervals cover? Simulations of every kind of interval that a report shows, in worlds whose truth is known.

usage: OMP_NUM_THREADS=1 python benchmarks/coverage.py [--only PART ...] [--repetitions 4000]

One study: means (and proportions), differences, ratios (of distances under nine augmentations), relative_shifts,
tolerances (of families of strength), sets (numbers of whole studies), groups (scenes x frames, with groups and
without). Two studies of the same images: comparisons, nothing_differs, recall_differences, shift_differences. Of both:
paired_recall, joint_test, equivalence, power (2,000 repetitions), pilots.
Only means take as many repetitions as are asked for, the others a part of them. Cells are percentages.

Several draws of an image are alike: their correlation is 0.5 (normal, lognormal: in the logarithm), and for 0 and 1 the
chances of images have a beta distribution with the correlation 1/3. Of tolerances, a view is moved in a direction of
its image and family by an amount that is lognormal over images and varies by a third from level to level; steps are set
so that the true mean relative shifts are those shown.
"""

import itertools
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy import optimize

from bench import arguments, print_machine, print_row
from coverage_groups import groups
from coverage_pairs import comparisons, nothing_differs, recall_differences, shift_differences
from coverage_power import equivalence, joint_test, paired_recall, pilots, power
from coverage_sets import sets
from embedshift.arrays import Values
from embedshift.statistics.baselines import relative_shifts as shifts_of
from embedshift.statistics.intervals import mean_interval, proportion_interval, simultaneous_intervals
from embedshift.statistics.sample import estimates_from_values, gather
from embedshift.statistics.strengths import RELATIVE_SHIFT, strength_at, tolerance
from embedshift.statistics.summary import contrasts
from embedshift.statistics.vectors import cosine
from simulated import Cone, baseline_of, holds, print_rates, print_sizes, rate, sample_of, true_baseline

# Repetitions that share their resamples, as columns of one sample.
TOGETHER = 100
# Images that give the true values.
MANY = 100_000
Draw = Callable[[np.random.Generator, tuple[int, int, int]], Values]


def normal(rng: np.random.Generator, shape: tuple[int, int, int]) -> Values:
    """Images x draws x repetitions; the mean is 0."""
    if shape[1] == 1:
        return rng.normal(size=shape)
    return np.asarray(np.sqrt(0.5) * (rng.normal(size=(shape[0], 1, shape[2])) + rng.normal(size=shape)))


def lognormal(rng: np.random.Generator, shape: tuple[int, int, int]) -> Values:
    """The exponential of a standard normal, less its mean."""
    return np.asarray(np.exp(normal(rng, shape)) - np.exp(0.5))


def binary(chance: float, rng: np.random.Generator, shape: tuple[int, int, int]) -> Values:
    own = chance if shape[1] == 1 else rng.beta(2 * chance, 2 * (1 - chance), (shape[0], 1, shape[2]))
    return np.asarray(rng.random(shape) < own, np.float64)


def means(repetitions: int) -> None:
    """Bootstrap-t; of proportions Clopper and Pearson's interval at the effective number of values."""
    kinds: dict[str, tuple[Draw, float]] = {"normal": (normal, 0.0), "lognormal": (lognormal, 0.0)}
    kinds |= {f"0/1, p = {chance}": (partial(binary, chance), chance) for chance in (0.02, 0.5)}
    print_sizes("values", "draws", sizes=(8, 20, 50, 500))

    def hit(draw: Draw, truth: float, draws: int, rng: np.random.Generator, n: int, seed: int) -> float:
        sample = gather([(draw(rng, (n, draws, TOGETHER)).sum(axis=1), np.full((n, TOGETHER), float(draws)))])
        ends = proportion_interval(sample) if truth else mean_interval(sample, seed=seed)
        return float(holds(*ends, truth).mean())

    for (name, kind), draws in itertools.product(kinds.items(), (1, 5)):
        print_rates([(name, draws)], partial(hit, *kind, draws), (8, 20, 50, 500), -(-repetitions // TOGETHER))


def exchangeable(rng: np.random.Generator, n: int) -> Values:
    """Nine numbers an image of one distribution, alike within an image."""
    return rng.normal(size=(n, 1)) + rng.normal(size=(n, 9))


def unequal(rng: np.random.Generator, n: int) -> Values:
    """Nine numbers an image of mean 0, whose spread grows and whose skew grows."""
    spread, skew = np.linspace(0.3, 3.0, 9), np.linspace(0.05, 1.0, 9)
    skewed = (np.exp(skew * rng.normal(size=(n, 9))) - np.exp(skew**2 / 2)) / np.exp(skew**2 / 2)
    return np.asarray(0.3 * rng.normal(size=(n, 1)) + spread * skewed / np.sqrt(np.exp(skew**2) - 1))


def differences(repetitions: int) -> None:
    """How often any of the 36 pairs of nine augmentations is significant although all means are equal."""
    print_sizes("values", sizes=(20, 50, 200))

    def wrong(draw: Callable[[np.random.Generator, int], Values], rng: np.random.Generator, n: int, seed: int) -> bool:
        pairs = estimates_from_values(draw(rng, n)).combine(contrasts(9))
        return bool(simultaneous_intervals(pairs, seed=seed).significant.any())

    for name, draw in (("exchangeable, normal", exchangeable), ("unequal spread and skew", unequal)):
        print_rates([(name,)], partial(wrong, draw), (20, 50, 200), repetitions)


# Mean relative shifts of the nine augmentations in the demo.
DEMO = np.array((1.163, 0.119, 0.109, 0.080, 0.054, 0.029, 0.026, 0.020, 0.006))
RESIDUALS: dict[str, Callable[[np.random.Generator, int], Values]] = {
    "normal": lambda rng, n: rng.normal(size=(n, 9)),
    "skewed": lambda rng, n: (1 - rng.exponential(size=(n, 9))) * np.where(np.arange(9) % 2, 1, -1),
    "unequal spread": lambda rng, n: rng.normal(size=(n, 9)) * np.linspace(0.3, 3.0, 9),
    "unequal spread and skew": unequal,
}


def ratios(repetitions: int) -> None:
    """Ratios of distances: how often a pair is significant although no ratio differs from 1, and how many are found."""
    print_sizes("simulation", sizes=(8, 20, 50))

    def significant(residual: str, means: Values, rng: np.random.Generator, n: int, seed: int) -> int:
        values = np.log(means) + 0.5 * rng.normal(size=(n, 1)) + 0.6 * RESIDUALS[residual](rng, n)
        pairs = estimates_from_values(values).paired(contrasts(9))
        return int(simultaneous_intervals(pairs, seed=seed // TOGETHER, resamples=1_999).significant.sum())

    def wrong(residual: str, rng: np.random.Generator, n: int, seed: int) -> bool:
        return significant(residual, np.ones(9), rng, n, seed) > 0

    for name in RESIDUALS:
        print_rates([(f"a false pair: {name}",)], partial(wrong, name), (8, 20, 50), repetitions)
    found = [rate(partial(significant, "normal", DEMO), n, -(-repetitions // 4)) / 100 for n in (8, 20, 50)]
    print_row("pairs found of 36", *(f"{each:.1f}" for each in found))


# Change → standard deviation of the logarithm of an image's amount; its distance grows with the square of the amount.
AMOUNTS = {"even amounts": 0.0, "skewed as photographs": 0.4, "strongly skewed": 0.7, "extremely skewed": 1.0}
CHANGES = (*AMOUNTS, "most far, some near", "an image from outside the set", "none")


def relative_shifts(repetitions: int) -> None:
    """Bootstrap-t with the baseline resampled, of the logarithm for the lower end if every image moved."""
    cone = Cone(64)

    def draw(rng: np.random.Generator, n: int) -> tuple[Values, Values]:
        """Vectors `[n, 64]`, and the cosines of their views `[n, changes]`."""
        vectors, outside = cone.draw(rng, n), cone.draw(rng, n)
        amounts = [0.3 * rng.lognormal(sigma=sigma, size=(n, 1)) for sigma in AMOUNTS.values()]
        views = [vectors + amount * rng.normal(size=vectors.shape) for amount in amounts]
        views.append(np.where(rng.random((n, 1)) < 0.25, views[0], outside))
        return vectors, np.stack([*(cosine(vectors, view) for view in (*views, outside)), np.ones(n)], axis=1)

    many, values = draw(np.random.default_rng(0), MANY)
    truth = (1 - values.mean(axis=0)) / (1 - true_baseline(many))
    truth[-2] = 1.0

    def hit(rng: np.random.Generator, n: int, seed: int) -> Values:
        vectors, values = draw(rng, n)
        found = shifts_of(sample_of(values), baseline_of(vectors), 1.0, seed=seed)
        return holds(found.low, found.high, truth)

    print_sizes("change", "true relative shift", sizes=(8, 12, 20, 50, 200))
    labels = [(name, f"{true:.3f}") for name, true in zip(CHANGES, truth, strict=True)]
    print_rates(labels, hit, (8, 12, 20, 50, 200), repetitions)


LEVELS = np.arange(6.0)
# Family → true mean relative shifts of its levels.
FAMILIES = {
    "steep": (0.01, 0.07, 0.35, 0.60, 0.85),
    "flat": (0.05, 0.08, 0.11, 0.24, 0.49),
    "very flat": (0.07, 0.085, 0.10, 0.115, 0.13),
    "reached below level 1": (0.14, 0.19, 0.31, 0.47, 0.73),
    "late and steep": (0.01, 0.04, 0.05, 0.15, 0.34),
    "reached at the last level": (0.01, 0.02, 0.04, 0.07, 0.12),
}


def tolerances(repetitions: int) -> None:
    """Where the ends of the relative shifts' intervals reach 0.1, as tables have it."""
    cone = Cone(64)

    def away(rng: np.random.Generator, n: int) -> Values:
        return np.asarray(rng.lognormal(size=(n, 1)) * rng.normal(size=(n, 64)))

    def uneven(rng: np.random.Generator, n: int) -> Values:
        return np.asarray(np.exp(0.33 * rng.normal(size=(n, 1))))

    def step(vectors: Values, moved: Values, distance: float) -> float:
        """The step after which views lie so far from their originals, in mean cosine distance."""
        return float(
            optimize.brentq(lambda s: 1 - cosine(vectors, vectors + s * moved).mean() - distance, 0, 9, xtol=1e-6)
        )

    rng = np.random.default_rng(0)
    many, direction = cone.draw(rng, MANY), away(rng, MANY)
    scale = 1 - true_baseline(many)
    steps = [[step(many, direction * uneven(rng, MANY), at * scale) for at in wanted] for wanted in FAMILIES.values()]
    truth = np.array([strength_at(LEVELS, [0.0, *wanted], RELATIVE_SHIFT) for wanted in FAMILIES.values()])

    def hit(rng: np.random.Generator, n: int, seed: int) -> Values:
        vectors, values = cone.draw(rng, n), []
        for of_family in steps:
            moved = away(rng, n)
            values += [cosine(vectors, vectors + each * moved * uneven(rng, n)) for each in of_family]
        found = shifts_of(sample_of(np.stack(values, 1)), baseline_of(vectors), 1.0, seed=seed, limits=(-1.0, 1.0))
        parts = (each.reshape(len(FAMILIES), -1) for each in (found.value, found.low, found.high))
        made = [tolerance(LEVELS, mean, low, high, RELATIVE_SHIFT) for mean, low, high in zip(*parts, strict=True)]
        low, high = np.nan_to_num(np.array([(each.low, each.high) for each in made], np.float64), nan=np.inf).T
        return holds(low, high, truth)

    print_sizes("family", "true mean relative shifts of levels 1 to 5", sizes=(24, 50, 200))
    print_rates(
        [(name, " ".join(map(str, wanted))) for name, wanted in FAMILIES.items()], hit, (24, 50, 200), repetitions
    )


# Part → its fraction of the repetitions.
PARTS: dict[Callable[[int], None], float] = {
    means: 1.0, differences: 0.25, ratios: 0.25, relative_shifts: 0.25, tolerances: 0.125, sets: 0.075, groups: 0.25,
    comparisons: 0.1, nothing_differs: 0.075, recall_differences: 0.25, shift_differences: 0.125,
    paired_recall: 0.25, joint_test: 0.25, equivalence: 0.5, power: 0.5, pilots: 0.25,
}  # fmt: skip


def main() -> None:
    names = tuple(part.__name__ for part in PARTS)
    options = arguments(__doc__, only=names, repetitions=4_000)
    started = time.process_time()
    for part, fraction in PARTS.items():
        if part.__name__ in options.only:
            repetitions = max(1, round(fraction * options.repetitions))
            print(f"\n{part.__name__}, {repetitions} repetitions: {(part.__doc__ or '').splitlines()[0]}\n")
            part(repetitions)
    print(f"\n{time.process_time() - started:.0f} CPU seconds")
    print_machine()


if __name__ == "__main__":
    main()
