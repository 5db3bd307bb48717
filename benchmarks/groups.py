"""Do intervals cover if images belong to groups? Scenes x frames, with groups and without.

usage: OMP_NUM_THREADS=1 python benchmarks/groups.py [--repetitions 1000] [--only means recall ...]

Images of a scene share a part of every number: `correlation` is that of two frames of one scene; one frame a scene is
no group, so that there is one number. Means are of normal values; recall is the proportion of views that are found, by
a normal value below a limit; relative shifts are of embeddings of 16 numbers whose views move by lognormal lengths;
thresholds are the cosines that 1 % of the pairs of different scenes reach; ratios are those of the table `differences`:
four augmentations with lognormal distances, and covered are all six pairs at once. The truth of relative shifts and
thresholds is that of a million images, each of a scene of its own. 100 repetitions share the resamples of one seed.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from embedshift.arrays import GroupNumbers, Values
from embedshift.questions.search.matching import all_pairs, thresholds
from embedshift.statistics import intervals
from embedshift.statistics.baselines import cosine_baseline, relative_shifts
from embedshift.statistics.sample import estimates_from_values, gather
from embedshift.statistics.summary import COSINE, Measured, differences
from embedshift.statistics.vectors import cosine, normalised
from machine import describe_machine

DESIGNS = ((50, 1), (50, 4), (20, 10), (10, 20))
CORRELATIONS = (0.3, 0.8)
DIM, FOUND, RATE = 16, 0.85, 0.01
# Geometric means of 1 - cosine under four augmentations, and the log sd of what images add to all, and to each.
DISTANCES, OF_IMAGE, OF_VIEW = np.array([0.02, 0.025, 0.04, 0.1]), 0.5, 0.6
TRUTH_IMAGES = 1_000_000
# Repetitions that share the resamples of one seed, as studies of one seed do.
BATCH = 100
Covered = NDArray[np.bool_]


@dataclass(frozen=True)
class Scenes:
    """Scenes of some frames, and the correlation of two frames of one scene; images are taken as groups, or not."""

    scenes: int
    frames: int
    correlation: float
    grouped: bool

    @property
    def images(self) -> int:
        return self.scenes * self.frames

    @property
    def groups(self) -> GroupNumbers | None:
        return np.repeat(np.arange(self.scenes), self.frames) if self.grouped else None

    def normal(self, rng: np.random.Generator, width: int = 1) -> Values:
        """Standard normal numbers `[images, width]`, frame by frame of each scene."""
        of_scene, own = rng.normal(size=(self.scenes, 1, width)), rng.normal(size=(self.scenes, self.frames, width))
        both = np.sqrt(self.correlation) * of_scene + np.sqrt(1 - self.correlation) * own
        return np.asarray(both).reshape(-1, width)

    def embeddings(self, rng: np.random.Generator) -> tuple[Values, Values]:
        """Originals and views `[images, DIM]`; the set has a common direction, as encoders have."""
        originals, lengths = 0.7 + self.normal(rng, DIM), np.exp(0.5 * self.normal(rng))
        return originals, originals + lengths * self.normal(rng, DIM)


def covers(low: ArrayLike, high: ArrayLike, truth: ArrayLike) -> Covered:
    return np.asarray((np.asarray(low) <= truth) & (truth <= np.asarray(high)))


def means(rng: np.random.Generator, given: Scenes, count: int, seed: int) -> Covered:
    sample = estimates_from_values(given.normal(rng, count), given.groups)
    return covers(*intervals.mean_interval(sample, seed=seed), 0.0)


def recall(rng: np.random.Generator, given: Scenes, count: int, seed: int) -> Covered:
    is_found = given.normal(rng, count) < stats.norm.ppf(FOUND)
    return covers(*intervals.proportion_interval(estimates_from_values(is_found, given.groups)), FOUND)


def ratios(rng: np.random.Generator, given: Scenes, count: int, seed: int) -> Covered:
    names, (first, second) = tuple("abcd"), np.triu_indices(4, k=1)
    covered = []
    for _ in range(count):
        added = OF_IMAGE * given.normal(rng) + OF_VIEW * given.normal(rng, len(DISTANCES))
        logarithms = np.log(DISTANCES) + added
        sample = estimates_from_values(np.hstack([1 - np.exp(logarithms), logarithms]), given.groups)
        table = differences(Measured(names, (COSINE,), sample, (COSINE,)), seed=seed)
        low, high = (table[column].to_numpy() for column in ("ratio_low", "ratio_high"))
        covered.append(covers(low, high, DISTANCES[first] / DISTANCES[second]).all())
    return np.array(covered)


def shifts(rng: np.random.Generator, given: Scenes, count: int, seed: int) -> Covered:
    sizes = [given.frames] * given.scenes if given.grouped else [1] * given.images
    vectors: dict[str, Values] = {}
    if given.groups is not None:
        vectors = {"group": given.groups.astype(np.float64), "size": np.full(given.images, float(given.frames))}
    low, high = np.empty(count), np.empty(count)
    for repetition in range(count):
        originals, views = given.embeddings(rng)
        baseline = cosine_baseline({"vectors": vectors | {"vectors": originals}}.__getitem__, given.images)
        assert baseline is not None
        cosines = cosine(views, originals)[:, None]
        sample = gather([(cosines, np.ones_like(cosines))], chunks=sizes, groups=given.groups)
        shift = relative_shifts(sample, baseline, 1.0, seed=seed)
        low[repetition], high[repetition] = shift.low.item(), shift.high.item()
    return covers(low, high, truth("relative_shifts"))


def cosine_thresholds(rng: np.random.Generator, given: Scenes, count: int, seed: int) -> Covered:
    rows = (thresholds(all_pairs(given.embeddings(rng)[0], given.groups), [RATE], seed) for _ in range(count))
    # Without an end nothing is covered.
    low, high = np.array([row.select("ci_low", "ci_high").row(0) for row in rows], np.float64).T
    return covers(low, high, truth("thresholds"))


def truth(name: str) -> float:
    """The relative shift, or the threshold, of a million images of a scene each."""
    if not _TRUTH:
        originals, views = Scenes(TRUTH_IMAGES, 1, 0.0, grouped=False).embeddings(np.random.default_rng(0))
        units = normalised(originals)
        between = (units[::2] * units[1::2]).sum(axis=1)
        relative_shift = (1 - cosine(views, originals).mean()) / (1 - between.mean())
        _TRUTH.update(relative_shifts=float(relative_shift), thresholds=float(np.quantile(between, 1 - RATE)))
    return _TRUTH[name]


_TRUTH: dict[str, float] = {}
# Whether each of some repetitions of scenes covers the truth.
KINDS: dict[str, Callable[[np.random.Generator, Scenes, int, int], Covered]] = {
    "means": means, "recall": recall, "ratios": ratios, "relative_shifts": shifts, "thresholds": cosine_thresholds,
}  # fmt: skip


def coverage(name: str, given: Scenes, repetitions: int) -> float:
    """The percentage of repetitions that cover the truth; the same images whether they are grouped or not."""
    covered = []
    for seed, start in enumerate(range(0, repetitions, BATCH)):
        rng = np.random.default_rng([seed, given.scenes, given.frames, round(10 * given.correlation)])
        covered.append(KINDS[name](rng, given, min(BATCH, repetitions - start), seed))
    return 100 * float(np.concatenate(covered).mean())


def cell(name: str, scenes: int, frames: int, correlation: float, repetitions: int) -> str:
    ways: Iterable[bool] = (True, False) if frames > 1 else (True,)
    return " / ".join(
        f"{coverage(name, Scenes(scenes, frames, correlation, grouped), repetitions):.1f}" for grouped in ways
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1_000)
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS))
    options = parser.parse_args()
    print(f"coverage of 95 % intervals, {options.repetitions} repetitions a cell, %: with groups / without\n")
    cells = [f"{scenes} x {frames}" for scenes, frames in DESIGNS]
    print("| number | correlation | " + " | ".join(cells) + " |\n|---|---|" + "---|" * len(cells))
    started = time.process_time()
    for name, correlation in itertools.product(options.only, CORRELATIONS):
        row = [cell(name, *design, correlation, options.repetitions) for design in DESIGNS]
        print(f"| {name.replace('_', ' ')} | {correlation:g} | " + " | ".join(row) + " |", flush=True)
        print(f"{name} {correlation:g}: {time.process_time() - started:.0f} s", file=sys.stderr)
    print(f"\n{time.process_time() - started:.0f} s of CPU; {describe_machine()}")


if __name__ == "__main__":
    main()
