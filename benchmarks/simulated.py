"""What the simulations of intervals share: vectors whose truth is known, and how often something is so."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench import print_head, print_row
from embedshift.arrays import Values
from embedshift.statistics.baselines import Baseline, cosine_pairs
from embedshift.statistics.sample import Estimates, gather
from embedshift.statistics.vectors import normalised

# A generator, the size of a study and its seed → whether its intervals hold the truth; of several numbers at once.
Hit = Callable[[np.random.Generator, Any, int], Any]


def holds(low: Any, high: Any, truth: Any) -> Values:
    """Where there is no end, nothing is held."""
    return np.asarray((np.asarray(low, np.float64) <= truth) & (truth <= np.asarray(high, np.float64)))


def rate(hit: Hit, size: Any, repetitions: int) -> Values:
    """How often it is so, in %."""
    seeds = range(repetitions)
    return np.asarray(
        100 * np.mean([hit(np.random.default_rng([seed, *np.ravel(size)]), size, seed) for seed in seeds], 0)
    )


def print_rates(labels: Sequence[tuple[object, ...]], hit: Hit, sizes: Sequence[Any], repetitions: int) -> None:
    """A row for each number of a study, a column for each size."""
    cells = np.transpose([np.ravel(rate(hit, size, repetitions)) for size in sizes])
    for label, row in zip(labels, cells, strict=True):
        print_row(*label, *(f"{each:.1f}" for each in row))


def print_sizes(*names: str, sizes: Sequence[int]) -> None:
    print_head(*names, *(f"n = {n}" for n in sizes))


class Cone:
    """Vectors around a common direction, as those of encoders are."""

    def __init__(self, dim: int, far: float = 1.2) -> None:
        self.scale, self.middle = np.linspace(0.3, 1.5, dim), far * np.random.default_rng(0).normal(size=dim)

    def draw(self, rng: Any, count: int) -> Values:
        """Vectors `[count, dim]`."""
        return np.asarray(rng.normal(size=(count, len(self.scale))) * self.scale + self.middle)


def true_baseline(vectors: Values) -> float:
    """The mean cosine of all pairs of many vectors."""
    total, count = normalised(vectors).sum(axis=0), len(vectors)
    return float((total @ total - count) / (count * (count - 1)))


def baseline_of(vectors: Values) -> Baseline:
    """As a study of these originals has it."""
    one = np.ones(len(vectors))
    return cosine_pairs(normalised(vectors), one, one).baseline()


def sample_of(values: Values) -> Estimates:
    """The numbers of a study, `[images, numbers]`."""
    return gather([(values, np.ones_like(values))], chunks=[1] * len(values))
