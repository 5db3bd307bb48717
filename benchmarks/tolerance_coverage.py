"""Do the intervals of tolerances cover? Two ways to make them, on made families whose true tolerance is known.

usage: python benchmarks/tolerance_coverage.py [--repetitions 1000]

Images are vectors around a common direction. A view is moved in a direction of its image and family, the same at all
levels, by an amount that is lognormal over images, so that relative shifts are skewed, and varies by a third from level
to level, so that not all images rise at every level. The lengths of the steps are set so that the true mean relative
shifts are those below. "Ends": where the ends of their intervals (bootstrap-t over images) reach 0.1, as tables have
it. "Percentile": the middle 95 % of the tolerances of resamples of the images. Both resample the baseline too.
"""

import argparse
import time

import numpy as np
from scipy import optimize

from embedshift.statistics.baselines import Baseline, cosine_pairs, relative_shifts
from embedshift.statistics.sample import RESAMPLES, Estimates, gather, weights
from embedshift.statistics.strengths import RELATIVE_SHIFT, strength_at, tolerance
from embedshift.statistics.vectors import cosine, normalised
from machine import describe_machine

DIM, MANY = 64, 100_000
NUMBERS = (24, 50, 200)
LEVELS = np.arange(6.0)
FAMILIES = {
    "steep": (0.01, 0.07, 0.35, 0.60, 0.85),
    "flat": (0.05, 0.08, 0.11, 0.24, 0.49),
    "very flat": (0.07, 0.085, 0.10, 0.115, 0.13),
    "reached below level 1": (0.14, 0.19, 0.31, 0.47, 0.73),
    "late and steep": (0.01, 0.04, 0.05, 0.15, 0.34),
    "reached at the last level": (0.01, 0.02, 0.04, 0.07, 0.12),
}


class World:
    """Images, and steps that give the families their true relative shifts."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.scale, self.cone = np.linspace(0.3, 1.5, DIM), 1.2 * rng.normal(size=DIM)
        many = self.originals(rng, MANY)
        total = np.sum(normalised(many), axis=0)
        baseline = (total @ total - MANY) / (MANY * (MANY - 1))
        self.steps, away = {}, self.away(rng, MANY)
        for name, wanted in FAMILIES.items():
            self.steps[name] = [_step(many, away * uneven(rng, MANY), at * (1 - baseline)) for at in wanted]
        self.truth = {
            name: float(strength_at(LEVELS, [0.0, *wanted], RELATIVE_SHIFT)) for name, wanted in FAMILIES.items()
        }

    def originals(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Embeddings `[count, DIM]`."""
        return np.asarray(rng.normal(size=(count, DIM)) * self.scale + self.cone)

    def away(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Which way a family moves each image, and how far beside other images, `[count, DIM]`."""
        return np.asarray(rng.lognormal(size=(count, 1)) * rng.normal(size=(count, DIM)))

    def sample(self, rng: np.random.Generator, count: int) -> tuple[Estimates, Baseline]:
        """Cosines of some images, family by family and level by level, and their baseline."""
        vectors, found = self.originals(rng, count), []
        for steps in self.steps.values():
            away = self.away(rng, count)
            found += [cosine(vectors, vectors + step * away * uneven(rng, count)) for step in steps]
        values = np.stack(found, axis=1)
        baseline = cosine_pairs(normalised(vectors), np.ones(count), np.ones(count)).baseline()
        return gather([(values, np.ones_like(values))], chunks=[1] * count), baseline


def uneven(rng: np.random.Generator, count: int) -> np.ndarray:
    """How a level's amount differs from image to image."""
    return np.asarray(np.exp(0.33 * rng.normal(size=(count, 1))))


def _step(vectors: np.ndarray, away: np.ndarray, distance: float) -> float:
    """The step after which views lie so far from their originals, in mean cosine distance."""
    found = optimize.brentq(lambda step: 1 - cosine(vectors, vectors + step * away).mean() - distance, 0, 9, xtol=1e-6)
    return float(found)


def by_ends(sample: Estimates, baseline: Baseline, seed: int) -> np.ndarray:
    """Weak and strong ends by the relative shifts' intervals, `[families, 2]`; infinite beyond the strongest level."""
    found = relative_shifts(sample, baseline, 1.0, seed=seed, limits=(-1.0, 1.0))
    parts = (each.reshape(len(FAMILIES), -1) for each in (found.value, found.low, found.high))
    made = [tolerance(LEVELS, mean, low, high, RELATIVE_SHIFT) for mean, low, high in zip(*parts, strict=True)]
    return np.nan_to_num([[each.low, each.high] for each in made], nan=np.inf)


def by_percentiles(sample: Estimates, baseline: Baseline, seed: int) -> np.ndarray:
    """The same by the middle 95 % of resamples."""
    assert sample.chunked is not None
    assert baseline.pairs is not None
    drawn = np.vstack(list(weights(sample.group_count, seed=seed, resamples=RESAMPLES)))
    baselines, _ = baseline.pairs.means(drawn)
    again = (1 - drawn @ sample.chunked / sample.group_count) / (1 - baselines[:, None])
    curves = np.pad(again.reshape(RESAMPLES, len(FAMILIES), -1), ((0, 0), (0, 0), (1, 0)))
    at = np.nan_to_num(strength_at(LEVELS, curves, RELATIVE_SHIFT), nan=np.inf)
    return np.stack([np.quantile(at, q, axis=0, method="nearest") for q in (0.025, 0.975)], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1_000)
    repetitions = parser.parse_args().repetitions
    started, world, ways = time.perf_counter(), World(), {"ends": by_ends, "percentile": by_percentiles}
    names = list(FAMILIES)
    truth = np.array([world.truth[name] for name in names])
    hits = {(way, n): np.zeros(len(names)) for way in ways for n in NUMBERS}
    for n in NUMBERS:
        for seed in range(repetitions):
            sample, baseline = world.sample(np.random.default_rng([seed, n]), n)
            for way, make in ways.items():
                ends = make(sample, baseline, seed)
                hits[way, n] += (ends[:, 0] <= truth) & (truth <= ends[:, 1])
    print(f"\ncoverage of 95 % intervals of tolerances, {repetitions} repetitions, %\n")
    columns = [(way, n) for way in ways for n in NUMBERS]
    print(
        "| family | true mean relative shifts of levels 1 to 5 | "
        + " | ".join(f"{way}, n = {n}" for way, n in columns)
        + " |"
    )
    print("|---|---|" + "---|" * len(columns))
    for place, name in enumerate(names):
        cells = " | ".join(f"{100 * hits[column][place] / repetitions:.1f}" for column in columns)
        print(f"| {name} | {', '.join(map(str, FAMILIES[name]))} | {cells} |")
    print(f"\n{describe_machine()}, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
