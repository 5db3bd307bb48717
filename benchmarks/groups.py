"""Do intervals cover if images belong to groups? Scenes x frames, with groups and without.

usage: python benchmarks/groups.py [--repetitions 1000] [--only means recall relative_shifts thresholds]

Images of a scene share a part of every number: `correlation` is that of two frames of one scene. Means are of normal
values; recall is the proportion of views that are found, by a normal value below a limit; relative shifts are of
embeddings of 16 numbers whose views move by lognormal lengths; thresholds are the cosines that 2 % of the pairs of
different scenes reach. The truth is that of a million images, each of a scene of its own.
"""

import argparse
import itertools
import time
from collections.abc import Callable

import numpy as np
from scipy import stats

from embedshift.arrays import Units, Values
from embedshift.questions.search.pairs import all_pairs, thresholds
from embedshift.statistics import intervals
from embedshift.statistics.baselines import cosine_baseline, relative_shifts
from embedshift.statistics.sample import estimates_from_values, gather
from embedshift.statistics.vectors import cosine, unit
from machine import describe_machine

DESIGNS = ((50, 1), (50, 4), (20, 10), (10, 20))
CORRELATIONS = (0.3, 0.8)
DIM, FOUND, RATE = 16, 0.85, 0.02
TRUTH_IMAGES = 1_000_000
# The ends of an interval of scenes x frames with a correlation, with groups or without.
Interval = Callable[[np.random.Generator, int, int, float, bool, int], tuple[float, float]]


def shared(rng: np.random.Generator, scenes: int, frames: int, correlation: float, width: int = 1) -> Values:
    """Standard normal numbers `[images, width]`, frame by frame of each scene."""
    own = rng.normal(size=(scenes, 1, width)), rng.normal(size=(scenes, frames, width))
    return np.asarray(np.sqrt(correlation) * own[0] + np.sqrt(1 - correlation) * own[1]).reshape(-1, width)


def units_of(scenes: int, frames: int, grouped: bool) -> Units | None:
    return np.repeat(np.arange(scenes), frames) if grouped else None


def means(
    rng: np.random.Generator, scenes: int, frames: int, correlation: float, grouped: bool, seed: int
) -> tuple[float, float]:
    sample = estimates_from_values(shared(rng, scenes, frames, correlation), units_of(scenes, frames, grouped))
    low, high = intervals.mean_interval(sample, seed=seed)
    return low.item(), high.item()


def recall(
    rng: np.random.Generator, scenes: int, frames: int, correlation: float, grouped: bool, seed: int
) -> tuple[float, float]:
    found = shared(rng, scenes, frames, correlation) < stats.norm.ppf(FOUND)
    low, high = intervals.proportion_interval(estimates_from_values(found, units_of(scenes, frames, grouped)))
    return low.item(), high.item()


def embeddings(rng: np.random.Generator, scenes: int, frames: int, correlation: float) -> tuple[Values, Values]:
    """Originals and views `[images, DIM]`; the set has a common direction, as encoders have."""
    originals = 0.7 + shared(rng, scenes, frames, correlation, DIM)
    lengths = np.exp(0.5 * shared(rng, scenes, frames, correlation))
    return originals, originals + lengths * shared(rng, scenes, frames, correlation, DIM)


def shifts(
    rng: np.random.Generator, scenes: int, frames: int, correlation: float, grouped: bool, seed: int
) -> tuple[float, float]:
    originals, views = embeddings(rng, scenes, frames, correlation)
    count, units = len(originals), units_of(scenes, frames, grouped)
    vectors = {"vectors": originals}
    if units is not None:
        vectors |= {"group": units.astype(np.float64), "size": np.full(count, float(frames))}
    baseline = cosine_baseline({"vectors": vectors}.__getitem__, count)
    assert baseline is not None
    cosines = cosine(views, originals)[:, None]
    sizes = [1] * count if units is None else [frames] * scenes
    sample = gather([(cosines, np.ones_like(cosines))], chunks=sizes, units=units)
    found = relative_shifts(sample, baseline, 1.0, seed=seed)
    return found.low.item(), found.high.item()


def cosine_thresholds(
    rng: np.random.Generator, scenes: int, frames: int, correlation: float, grouped: bool, seed: int
) -> tuple[float, float]:
    originals, _ = embeddings(rng, scenes, frames, correlation)
    row = thresholds(all_pairs(originals, units_of(scenes, frames, grouped)), [RATE], seed).row(0, named=True)
    return row["ci_low"] or np.nan, row["ci_high"] or np.nan


def true_values() -> dict[str, float]:
    originals, views = embeddings(np.random.default_rng(0), TRUTH_IMAGES, 1, 0.0)
    units = unit(originals)
    between = (units[::2] * units[1::2]).sum(axis=1)
    relative_shift = (1 - cosine(views, originals).mean()) / (1 - between.mean())
    return {
        "means": 0.0,
        "recall": FOUND,
        "relative_shifts": relative_shift,
        "thresholds": np.quantile(between, 1 - RATE),
    }


KINDS: dict[str, Interval] = {
    "means": means, "recall": recall, "relative_shifts": shifts, "thresholds": cosine_thresholds,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1_000)
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS))
    options = parser.parse_args()
    truth, started = true_values(), time.perf_counter()
    print(f"coverage of 95 % intervals, {options.repetitions} repetitions a cell, %: with groups / without\n")
    cells = [f"{scenes} x {frames}" for scenes, frames in DESIGNS]
    print("| number | correlation | " + " | ".join(cells) + " |\n|---|---|" + "---|" * len(cells))
    for name, correlation in itertools.product(options.only, CORRELATIONS):
        found = []
        for scenes, frames in DESIGNS:
            hits = [0, 0]
            for repetition, grouped in itertools.product(range(options.repetitions), (True, False)):
                rng = np.random.default_rng([repetition, scenes, frames, round(10 * correlation)])
                low, high = KINDS[name](rng, scenes, frames, correlation, grouped, repetition)
                hits[not grouped] += low <= truth[name] <= high
            found.append(" / ".join(f"{100 * count / options.repetitions:.1f}" for count in hits))
        print(f"| {name.replace('_', ' ')} | {correlation:g} | " + " | ".join(found) + " |", flush=True)
    print(f"\n{time.perf_counter() - started:.0f} s; {describe_machine()}")


if __name__ == "__main__":
    main()
