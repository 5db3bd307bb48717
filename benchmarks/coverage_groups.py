"""Do intervals cover if images belong to groups? Scenes x frames, with groups and without; a part of `coverage.py`.

Images of a scene share a part of every number: `correlation` is that of two frames of one scene; one frame a scene is
no group. Means are of normal values; recall is the proportion of views that are found, by a normal value below a limit;
relative shifts are of embeddings of 16 numbers whose views move by lognormal lengths; thresholds are the cosines that
1 % of the pairs of different scenes reach; ratios are those of the table `differences`: four augmentations with
lognormal distances, and covered are all six pairs at once.
"""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from bench import print_head, print_row
from embedshift.arrays import GroupNumbers, Values
from embedshift.statistics.baselines import cosine_baseline, relative_shifts
from embedshift.statistics.intervals import mean_interval, proportion_interval
from embedshift.statistics.sample import estimates_from_values, gather
from embedshift.statistics.summary import COSINE, Measured, differences
from embedshift.statistics.thresholds import all_pairs, thresholds
from embedshift.statistics.vectors import cosine, normalised
from simulated import holds, rate

DESIGNS = ((50, 1), (50, 4), (20, 10), (10, 20))
DIM, FOUND, RATE = 16, 0.85, 0.01
# Geometric means of 1 - cosine under four augmentations, and the log sd of what images add to all, and to each.
DISTANCES, OF_IMAGE, OF_VIEW = np.array([0.02, 0.025, 0.04, 0.1]), 0.5, 0.6


@dataclass(frozen=True)
class Scenes:
    """Some frames of each of some scenes."""

    rng: np.random.Generator
    scenes: int
    frames: int
    correlation: float

    @property
    def ways(self) -> list[GroupNumbers | None]:
        """Images in groups, and not."""
        return [np.repeat(np.arange(self.scenes), self.frames), None]

    def normal(self, width: int = 1) -> Values:
        """Standard normal numbers `[images, width]`, frame by frame of each scene."""
        of_scene = self.rng.normal(size=(self.scenes, 1, width))
        own = self.rng.normal(size=(self.scenes, self.frames, width))
        both = np.sqrt(self.correlation) * of_scene + np.sqrt(1 - self.correlation) * own
        return np.asarray(both).reshape(-1, width)

    def embeddings(self) -> tuple[Values, Values]:
        """Originals and views `[images, DIM]`; the set has a common direction, as encoders have."""
        originals, lengths = 0.7 + self.normal(DIM), np.exp(0.5 * self.normal())
        return originals, originals + lengths * self.normal(DIM)


def means(given: Scenes, seed: int) -> list[Any]:
    values = given.normal()
    return [holds(*mean_interval(estimates_from_values(values, way), seed=seed), 0.0) for way in given.ways]


def recall(given: Scenes, seed: int) -> list[Any]:
    found = given.normal() < stats.norm.ppf(FOUND)
    return [holds(*proportion_interval(estimates_from_values(found, way)), FOUND) for way in given.ways]


def ratios(given: Scenes, seed: int) -> list[Any]:
    first, second = np.triu_indices(4, k=1)
    logarithms = np.log(DISTANCES) + OF_IMAGE * given.normal() + OF_VIEW * given.normal(len(DISTANCES))
    covered = []
    for way in given.ways:
        sample = estimates_from_values(np.hstack([1 - np.exp(logarithms), logarithms]), way)
        table = differences(Measured(tuple("abcd"), (COSINE,), sample, (COSINE,)), seed=seed)
        low, high = (table[column].to_numpy() for column in ("ratio_low", "ratio_high"))
        covered.append(holds(low, high, DISTANCES[first] / DISTANCES[second]).all())
    return covered


def shifts(given: Scenes, seed: int) -> list[Any]:
    (originals, views), covered = given.embeddings(), []
    cosines = cosine(views, originals)[:, None]
    for way in given.ways:
        images = len(originals)
        sums = {"vectors": originals}
        if way is not None:
            sums |= {"group": way.astype(np.float64), "size": np.full(images, float(given.frames))}
        baseline = cosine_baseline({"vectors": sums}.__getitem__, images)
        assert baseline is not None
        sizes = [1] * images if way is None else [given.frames] * given.scenes
        sample = gather([(cosines, np.ones_like(cosines))], chunks=sizes, groups=way)
        found = relative_shifts(sample, baseline, 1.0, seed=seed)
        covered.append(holds(found.low, found.high, truth()[0]).all())
    return covered


def cosine_thresholds(given: Scenes, seed: int) -> list[Any]:
    originals, _ = given.embeddings()
    rows = (thresholds(all_pairs(originals, way), [RATE], seed) for way in given.ways)
    return [holds(row["ci_low"].item(), row["ci_high"].item(), truth()[1]) for row in rows]


@functools.cache
def truth() -> tuple[float, float]:
    """The relative shift and the threshold of a million images of a scene each."""
    originals, views = Scenes(np.random.default_rng(0), 1_000_000, 1, 0.0).embeddings()
    units = normalised(originals)
    between = (units[::2] * units[1::2]).sum(axis=1)
    shift = (1 - cosine(views, originals).mean()) / (1 - between.mean())
    return float(shift), float(np.quantile(between, 1 - RATE))


KINDS: dict[str, Callable[[Scenes, int], list[Any]]] = {
    "means": means, "recall": recall, "ratios": ratios, "relative shifts": shifts, "thresholds": cosine_thresholds,
}  # fmt: skip


def groups(repetitions: int) -> None:
    """With groups / without."""
    print_head("number", "correlation", *(f"{scenes} x {frames}" for scenes, frames in DESIGNS))
    for name, correlation in itertools.product(KINDS, (0.3, 0.8)):

        def hit(
            rng: np.random.Generator, design: tuple[int, int], seed: int, name: str = name, same: float = correlation
        ) -> Values:
            return np.ravel(KINDS[name](Scenes(rng, *design, same), seed))

        cells = [rate(hit, design, repetitions)[: 1 + (design[1] > 1)] for design in DESIGNS]
        print_row(name, correlation, *(" / ".join(f"{each:.1f}" for each in cell) for cell in cells))
