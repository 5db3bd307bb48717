"""Do the intervals of a comparison of two encoders cover, and what is significant where nothing differs?

A part of `coverage.py`. Images are vectors around a common direction, and both encoders see the same ones by numbers of
their own. Comparisons: nine augmentations move them by lengths that are lognormal over images and views; "farther": the
views of the second encoder move 1.2 times as far; "wider": its originals lie further apart; "uneven": it moves twice as
far under four augmentations and half as far under four others. "all" has Student's interval of the jackknife, the nine
together the max-T of the bootstrap.
"""

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.stats import binomtest

from bench import print_head, print_row
from embedshift.arrays import GroupNumbers, Values
from embedshift.statistics import shift_ratios
from embedshift.statistics.baselines import cosine_baseline
from embedshift.statistics.intervals import mean_interval, simultaneous_intervals
from embedshift.statistics.shift_ratios import Shifts, over_augmentations, t_interval
from embedshift.statistics.summary import COSINE
from embedshift.statistics.vectors import cosine, normalised
from embedshift.study.paired.estimate import proportion_difference
from embedshift.study.paired.means import _shift_rows, metric_differences
from embedshift.study.paired.studies import PairedStudies
from simulated import Cone, baseline_of, holds, print_rates, print_sizes, rate, true_baseline

MANY = 100_000
# How far each of nine augmentations moves a view.
AMOUNTS = np.array([0.9, 0.35, 0.33, 0.28, 0.23, 0.17, 0.16, 0.14, 0.08])
UNEVEN = np.array([1.0, 2.0, 2.0, 2.0, 2.0, 0.5, 0.5, 0.5, 0.5])
# How much farther views move, and how much wider originals lie.
KINDS: dict[str, tuple[Values, float]] = {
    "equal": (np.ones(9), 1.0),
    "farther": (np.full(9, np.sqrt(1.2)), 1.0),
    "wider": (np.ones(9), 1.5),
    "uneven": (np.sqrt(UNEVEN), 1.0),
}
# Of an encoder, its originals `[n, D]` and 1 - cosine of its views `[n, 9]`.
Seen = tuple[Values, Values]


class World:
    """Images as two encoders see them."""

    def __init__(self, kind: str) -> None:
        self.farther, self.wider = KINDS[kind]
        self.cone = Cone(24)

    def seen(self, rng: Any, count: int) -> list[Seen]:
        lengths = AMOUNTS * np.exp(0.35 * rng.normal(size=(count, 1)) + 0.35 * rng.normal(size=(count, 9)))
        return [self._encoded(rng, lengths, 1.0), self._encoded(rng, lengths * self.farther, self.wider)]

    def _encoded(self, rng: Any, lengths: Values, wider: float) -> Seen:
        originals = wider * (self.cone.draw(rng, len(lengths)) - self.cone.middle) + self.cone.middle
        moved = [originals + length[:, None] * rng.normal(size=originals.shape) for length in lengths.T]
        return originals, np.stack([1 - cosine(originals, view) for view in moved], axis=1)

    def truth(self) -> Values:
        """Logarithms of the nine ratios."""
        both = self.seen(np.random.default_rng(1), MANY)
        logs = [np.log(far).mean(axis=0) - np.log(1 - true_baseline(originals)) for originals, far in both]
        return np.asarray(logs[1] - logs[0])


def shifts_of(originals: Values, distances: Values) -> Shifts:
    baseline = baseline_of(originals)
    return shift_ratios.shifts(distances[..., None], baseline, shift_ratios.jackknife_deviations(baseline))


def comparisons(repetitions: int) -> None:
    """Ratios of relative shifts, the baselines included: of all, of each of nine, and of the nine at once."""
    print_head("encoder", "ratio of all", "n", "all", "each", "nine, max-T")
    for kind in KINDS:
        world = World(kind)
        truth = world.truth()

        def hit(
            rng: np.random.Generator, n: int, seed: int, world: World = world, truth: Values = truth
        ) -> tuple[Any, ...]:
            first, second = (shifts_of(*each) for each in world.seen(rng, n))
            sample = shift_ratios.log_ratios(first, second)
            every = simultaneous_intervals(sample, seed=seed)
            of_all = holds(*t_interval(over_augmentations(sample, np.ones(9, bool))), truth.mean())
            return of_all.all(), holds(*t_interval(sample), truth).mean(), holds(every.low, every.high, truth).all()

        for n in (20, 40, 200):
            ratio = f"{np.exp(truth.mean()):.3f}"
            print_row(kind, ratio, n, *(f"{each:.1f}" for each in rate(hit, n, repetitions)))


class Made(PairedStudies):
    """Two studies of the same images, made of numbers: what the rows of a comparison are made from."""

    augmentations, seed = [f"change-{number}" for number in range(len(AMOUNTS))], 0

    def __init__(self, seen: list[Seen], units: GroupNumbers | None) -> None:
        n = len(seen[0][0])
        super().__init__(studies=[], ids=[f"{image:05d}" for image in range(n)], same_pixels=[True, True])
        self.distances = np.stack([distances for _, distances in seen])[..., None]
        sums = {} if units is None else {"group": units.astype(float), "size": np.bincount(units)[units].astype(float)}
        parts = [{"vectors": {"vectors": normalised(originals)} | sums, "normalised": {}} for originals, _ in seen]
        baselines = [{COSINE: cosine_baseline(part.__getitem__, n)} for part in parts]
        reader = SimpleNamespace(groups=units)
        vars(self).update(baselines=baselines, groups=units, readers=[reader, reader], positions=[np.arange(n)] * 2)
        vars(self).update(metrics=[COSINE], names=["a", "b"], same_weights=[True, False], same_rows=[True, False])

    def values(self, metric: str, augmentations: object = None) -> Values:
        """1 - the distances."""
        return 1 - self.distances


class Scenes:
    """A generator of normal numbers `[4 n, ...]` that are correlated by 0.5 within every four."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def normal(self, size: tuple[int, ...]) -> Values:
        count, *others = size
        scenes = np.repeat(self.rng.normal(size=(count // 4, *others)), 4, axis=0)
        return np.asarray(np.sqrt(0.5) * (scenes + self.rng.normal(size=size)))


def nothing_differs(repetitions: int) -> None:
    """How often `compare` finds something between equal encoders; bold where Clopper and Pearson's begins above 5.

    By the rows of its own table: the row `all` by its own interval, and any row of a metric by `significant`. With
    groups, images are in scenes of four, whose contents and changes are correlated by 0.5; n counts scenes.
    """
    world, metrics = World("equal"), ("relative_shift", "tail", COSINE)
    print_head("images", "n", *(f"{metric}: `all`, any row" for metric in metrics), "any row of all")

    def found(frames: int, rng: np.random.Generator, n: int, seed: int) -> list[bool]:
        seen = world.seen(rng if frames == 1 else Scenes(rng), frames * n)
        paired = Made(seen, None if frames == 1 else np.repeat(np.arange(n), frames))
        rows = [*_shift_rows(paired, 1), *metric_differences(paired, COSINE, paired.values(COSINE))[1]]
        hits = []
        for metric in metrics:
            overall, *others = (row for row in rows if row["metric"] == metric)
            none, name = (1, "ratio") if "ratio" in overall else (0, "ci")
            hits.append(overall[f"{name}_low"] > none or overall[f"{name}_high"] < none)
            hits.append(any(row["significant"] for row in (overall, *others)))
        return [*hits, any(row["significant"] for row in rows)]

    def words(percent: float) -> str:
        hits = round(percent * repetitions / 100)
        return f"**{percent:.1f}**" if binomtest(hits, repetitions).proportion_ci().low > 0.05 else f"{percent:.1f}"

    for frames in (1, 4):
        for n in (8, 24, 50, 200):
            cells = [words(each) for each in rate(partial(found, frames), n, repetitions)]
            pairs = [", ".join(cells[place : place + 2]) for place in range(0, 6, 2)]
            print_row("independent" if frames == 1 else "in scenes of 4", n, *pairs, cells[-1])


def recall_differences(repetitions: int) -> None:
    """Tango's interval, where images are lost and gained with these probabilities."""
    print_sizes("gained", "lost", sizes=(24, 50, 200))

    def hit(gained: float, lost: float, rng: np.random.Generator, n: int, seed: int) -> Values:
        drawn = rng.uniform(size=n)
        found = proportion_difference(np.where(drawn < lost, -1.0, np.where(drawn > 1 - gained, 1.0, 0.0)))
        return holds(found.low - 1e-12, found.high + 1e-12, gained - lost)

    for each in ((0.0, 0.005), (0.01, 0.01), (0.005, 0.03), (0.02, 0.2)):
        print_rates([each], partial(hit, *each), (24, 50, 200), repetitions)


def shift_differences(repetitions: int) -> None:
    """Differences of relative shifts, by the jackknife's values of the images.

    Views are moved by lognormal amounts, the second encoder adds noise to every vector and moves views farther.
    """
    cone = Cone(32)
    print_sizes("moved", "by the second encoder, times", "true difference", sizes=(24, 50, 200))

    def encoded(moved: float, farther: float, rng: np.random.Generator, n: int) -> list[Seen]:
        originals = cone.draw(rng, n)
        away = moved * rng.lognormal(sigma=0.7, size=(n, 1)) * rng.normal(size=originals.shape)
        others = originals + 0.3 * rng.normal(size=originals.shape)
        also = farther * (away + 0.2 * moved * rng.normal(size=originals.shape))
        pairs = ((originals, originals + away), (others, others + also))
        return [(before, 1 - cosine(before, after)[:, None]) for before, after in pairs]

    def hit(world: tuple[float, float], truth: float, rng: np.random.Generator, n: int, seed: int) -> Values:
        first, second = (shifts_of(*each) for each in encoded(*world, rng, n))
        low, high = mean_interval(shift_ratios.shift_differences(first, second), seed=seed)
        return holds(low, high, truth)

    for world in ((0.1, 1.0), (0.1, 1.2), (0.5, 1.2), (1.5, 1.0)):
        many = encoded(*world, np.random.default_rng(1), MANY)
        first, second = (far.mean() / (1 - true_baseline(originals)) for originals, far in many)
        truth = float(second - first)
        print_rates([(*world, f"{truth:+.4f}")], partial(hit, world, truth), (24, 50, 200), repetitions)
