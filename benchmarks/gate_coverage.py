"""Do the intervals of paired differences cover? Of recall and of relative shifts, on made studies.

usage: python benchmarks/gate_coverage.py [--repetitions 300]

Recall: an image is lost or gained with the probabilities below. "Tango": as the gate has it; "bootstrap-t": of the
differences of the images, which has no width where none differs. Relative shifts: images are vectors around a common
direction, views are moved by an amount that is lognormal over images; the second encoder adds noise to every vector and
moves views farther. "Paired": bootstrap-t of the jackknife's values of the images, as the gate has it; "two intervals":
those of both relative shifts, as if the studies were of different images. Where there is no interval, it is counted as
one from -1 to 1. Of relative shifts there are half as many repetitions.
"""

import argparse
import time

import numpy as np

from embedshift.statistics import shift_ratios
from embedshift.statistics.baselines import Baseline, cosine_pairs, relative_shifts
from embedshift.statistics.intervals import mean_interval
from embedshift.statistics.sample import estimates_from_values, gather
from embedshift.statistics.vectors import cosine, normalised
from embedshift.study.paired.estimate import mover, proportion_difference
from machine import describe_machine

NUMBERS = (24, 50, 200)
# Probabilities that an image is gained, and that it is lost.
RECALLS = ((0.0, 0.005), (0.01, 0.01), (0.005, 0.03), (0.02, 0.2))
# How far views are moved, and how much farther by the second encoder.
SHIFTS = ((0.1, 1.0), (0.1, 1.2), (0.5, 1.2), (1.5, 1.0))
DIM, MANY = 32, 100_000


class Hits:
    """How often intervals held the truth, and how wide they were."""

    def __init__(self) -> None:
        self.held, self.width, self.count = 0, 0.0, 0

    def add(self, low: float, high: float, truth: float) -> None:
        """One more interval."""
        if np.isnan(low):
            low, high = -1.0, 1.0
        self.count += 1
        self.held += low - 1e-12 <= truth <= high + 1e-12
        self.width += high - low

    def cell(self) -> str:
        """Coverage in %, and the mean width."""
        return f"{100 * self.held / self.count:.1f} ({self.width / self.count:.3f})"


def of_recall(gained: float, lost: float, images: int, repetitions: int) -> list[Hits]:
    found = [Hits(), Hits()]
    for seed in range(repetitions):
        drawn = np.random.default_rng([seed, images]).uniform(size=images)
        apart = np.where(drawn < lost, -1.0, np.where(drawn > 1 - gained, 1.0, 0.0))
        own = proportion_difference(apart)
        found[0].add(own.low, own.high, gained - lost)
        low, high = mean_interval(estimates_from_values(apart[:, None]), seed=seed)
        found[1].add(low.item(), high.item(), gained - lost)
    return found


class World:
    """Images as two encoders see them."""

    def __init__(self, moved: float, farther: float) -> None:
        self.moved, self.farther = moved, farther
        self.scale, self.cone = np.linspace(0.3, 1.5, DIM), 1.2 * np.random.default_rng(0).normal(size=DIM)
        both = self.encoded(np.random.default_rng(1), MANY)
        self.truth = float(np.diff([_relative_shift(originals, views) for originals, views in both])[0])

    def encoded(self, rng: np.random.Generator, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """For both encoders the originals and the views `[count, DIM]`."""
        originals = rng.normal(size=(count, DIM)) * self.scale + self.cone
        away = self.moved * rng.lognormal(sigma=0.7, size=(count, 1)) * rng.normal(size=(count, DIM))
        others = originals + 0.3 * rng.normal(size=(count, DIM))
        also = self.farther * (away + 0.2 * self.moved * rng.normal(size=(count, DIM)))
        return [(originals, originals + away), (others, others + also)]


def _baseline(originals: np.ndarray) -> Baseline:
    one = np.ones(len(originals))
    return cosine_pairs(normalised(originals), one, one).baseline()


def _relative_shift(originals: np.ndarray, views: np.ndarray) -> float:
    """Of so many images that the baseline is that of sums."""
    total, count = normalised(originals).sum(axis=0), len(originals)
    baseline = (total @ total - count) / (count * (count - 1))
    return float((1 - cosine(originals, views).mean()) / (1 - baseline))


def of_two(world: World, images: int, repetitions: int) -> list[Hits]:
    found = [Hits(), Hits()]
    for seed in range(repetitions):
        added, ends = [], []
        for originals, views in world.encoded(np.random.default_rng([seed, images]), images):
            baseline, values = _baseline(originals), cosine(originals, views)
            distances = (1 - values)[:, None, None]
            added.append(shift_ratios.shifts(distances, baseline, shift_ratios.jackknife_deviations(baseline)))
            sample = gather([(values[:, None], np.ones((images, 1)))], chunks=[1] * images)
            own = relative_shifts(sample, baseline, 1.0, seed=seed, limits=(-1.0, 1.0))
            ends.append([each.item() for each in (own.value, own.low, own.high)])
        low, high = mean_interval(shift_ratios.shift_differences(added[0], added[1]), seed=seed)
        found[0].add(low.item(), high.item(), world.truth)
        other = mover(ends[1], ends[0], images)
        found[1].add(other.low, other.high, world.truth)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=300)
    repetitions = parser.parse_args().repetitions
    started = time.perf_counter()
    print(f"coverage of 95 % intervals in %, and their mean width, {repetitions} repetitions\n")
    _head("difference of recall", ("Tango", "bootstrap-t"))
    for gained, lost in RECALLS:
        rows = [of_recall(gained, lost, images, repetitions) for images in NUMBERS]
        _row(f"gained {gained:g}, lost {lost:g}", rows)
    print()
    _head("difference of relative shifts", ("paired", "two intervals"))
    for moved, farther in SHIFTS:
        world = World(moved, farther)
        rows = [of_two(world, images, repetitions // 2) for images in NUMBERS]
        _row(f"{world.truth:+.4f} (moved {moved:g}, {farther:g} times as far)", rows)
    print(f"\n{describe_machine()}, {time.perf_counter() - started:.0f} s")


def _head(name: str, ways: tuple[str, str]) -> None:
    print(f"| {name} | " + " | ".join(f"{way}, n = {n}" for way in ways for n in NUMBERS) + " |")
    print("|---|" + "---|" * (2 * len(NUMBERS)))


def _row(name: str, of_numbers: list[list[Hits]]) -> None:
    print(f"| {name} | " + " | ".join(hits[way].cell() for way in (0, 1) for hits in of_numbers) + " |")


if __name__ == "__main__":
    main()
