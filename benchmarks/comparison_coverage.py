"""Do the intervals of a comparison cover? Ratios of relative shifts of two simulated encoders, the baselines included.

usage: python benchmarks/comparison_coverage.py [--repetitions 400]

Images are vectors around a common direction. Nine augmentations move them by lengths that are lognormal over images and
views. Both encoders see the same images by numbers of their own. "equal": the second is drawn as the first; "farther":
its views move 1.2 times as far; "wider": its originals lie further apart; "uneven": it moves twice as far under four
augmentations and half as far under four others. `all` has Student's interval of the jackknife; the nine together have
the max-T of the bootstrap or Student's at Bonferroni's level. "fixed": without the error of the baselines.
"""

import argparse
import time

import numpy as np

from embedshift.arrays import Values
from embedshift.statistics.baselines import Baseline, unit_pairs
from embedshift.statistics.intervals import simultaneous_intervals
from embedshift.statistics.shift_ratios import (
    Shifts,
    jackknife_deviations,
    log_ratios,
    over_augmentations,
    shifts,
    t_interval,
)
from embedshift.statistics.vectors import cosine, unit
from machine import describe_machine

NUMBERS = (20, 40, 200)
DIM, MANY, TOGETHER = 24, 100_000, 10_000
# How far each of nine augmentations moves a view.
AMOUNTS = np.array([0.9, 0.35, 0.33, 0.28, 0.23, 0.17, 0.16, 0.14, 0.08])
UNEVEN = np.array([1.0, 2.0, 2.0, 2.0, 2.0, 0.5, 0.5, 0.5, 0.5])
KINDS: dict[str, tuple[Values, float]] = {
    "equal": (np.ones(9), 1.0),
    "farther": (np.full(9, np.sqrt(1.2)), 1.0),
    "wider": (np.ones(9), 1.5),
    "uneven": (np.sqrt(UNEVEN), 1.0),
}


class World:
    """Images as two encoders see them, and the true logarithms of the nine ratios."""

    def __init__(self, kind: str) -> None:
        self.farther, self.wider = KINDS[kind]
        self.cone = 1.2 * np.random.default_rng(0).normal(size=DIM)
        logs, sums = np.zeros((2, 9)), np.zeros((2, DIM))
        for block in range(MANY // TOGETHER):
            seen = self.seen(np.random.default_rng([1, block]), TOGETHER)
            logs += [np.log(distances).sum(axis=0) for _, distances in seen]
            sums += [unit(originals).sum(axis=0) for originals, _ in seen]
        baselines = (np.square(sums).sum(axis=1) - MANY) / (MANY * (MANY - 1))
        self.truth = np.diff(logs / MANY - np.log(1 - baselines)[:, None], axis=0)[0]

    def seen(self, rng: np.random.Generator, count: int) -> list[tuple[Values, Values]]:
        """Returns for both encoders the originals `[n, DIM]`, and 1 - cosine of the views `[n, 9]`."""
        lengths = AMOUNTS * np.exp(0.35 * rng.normal(size=(count, 1)) + 0.35 * rng.normal(size=(count, 9)))
        return [self._encoded(rng, lengths, 1.0, np.ones(9)), self._encoded(rng, lengths, self.wider, self.farther)]

    def _encoded(
        self, rng: np.random.Generator, lengths: Values, wider: float, farther: Values
    ) -> tuple[Values, Values]:
        originals = wider * rng.normal(size=(len(lengths), DIM)) * np.linspace(0.3, 1.5, DIM) + self.cone
        moved = [
            originals + (length * factor)[:, None] * rng.normal(size=originals.shape)
            for length, factor in zip(lengths.T, farther, strict=True)
        ]
        return originals, np.stack([1 - cosine(originals, view) for view in moved], axis=1)


def found(world: World, images: int, seed: int) -> dict[str, tuple[Values, Values]]:
    """Returns the ends of every kind of interval, of logarithms."""
    measured: list[Shifts] = []
    for originals, distances in world.seen(np.random.default_rng([seed, images]), images):
        one = np.ones(images)
        baseline: Baseline = unit_pairs(unit(originals), one, one).baseline()
        measured.append(shifts(distances[..., None], baseline, jackknife_deviations(baseline)))
    sample = log_ratios(measured[0], measured[1])
    still = [Shifts(each.relative, 0 * each.off) for each in measured]
    fixed = log_ratios(still[0], still[1])
    overall, every = over_augmentations(sample, np.ones(9, bool)), simultaneous_intervals(sample, seed=seed)
    return {
        "all": t_interval(overall),
        "all, fixed": t_interval(over_augmentations(fixed, np.ones(9, bool))),
        "each": t_interval(sample),
        "nine, max-T": (every.low, every.high),
        "nine, Bonferroni": t_interval(sample, 1 - 0.05 / 9),
        "mean": (sample.mean, sample.mean),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=400)
    repetitions, started = parser.parse_args().repetitions, time.perf_counter()
    print(f"coverage of 95 % intervals in %, {repetitions} repetitions a cell\n")
    ways = ("all", "all, fixed", "each", "nine, max-T", "nine, Bonferroni")
    print(
        "| encoder | ratio of all | n | " + " | ".join(ways) + " | `all` differs from 1 | bias |\n" + "|---" * 10 + "|"
    )
    for kind in KINDS:
        world = World(kind)
        for images in NUMBERS:
            hits: dict[str, list[float]] = {way: [] for way in ways}
            differs, bias = [], []
            for seed in range(repetitions):
                intervals = found(world, images, seed)
                for way in ways:
                    low, high = intervals[way]
                    truth = world.truth.mean() if way.startswith("all") else world.truth
                    held = (low <= truth) & (truth <= high)
                    hits[way].append(float(held.mean() if way == "each" else held.all()))
                low, high = intervals["all"]
                differs.append(low.item() > 0 or high.item() < 0)
                bias.append(float((intervals["mean"][0] - world.truth).mean()))
            cells = [f"{100 * np.mean(hits[way]):.1f}" for way in ways]
            cells += [f"{100 * np.mean(differs):.1f}", f"{np.mean(bias):+.4f}"]
            print(f"| {kind} | {np.exp(world.truth.mean()):.3f} | {images} | " + " | ".join(cells) + " |", flush=True)
    print(f"\n{time.perf_counter() - started:.0f} s; {describe_machine()}")


if __name__ == "__main__":
    main()
