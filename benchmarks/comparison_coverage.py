"""Do the intervals of a comparison cover? Ratios of relative shifts of two simulated encoders, the baselines included.

usage: python benchmarks/comparison_coverage.py [--repetitions 400] [--only nothing_differs]

Images are vectors around a common direction. Nine augmentations move them by lengths that are lognormal over images and
views. Both encoders see the same images by numbers of their own. "equal": the second is drawn as the first; "farther":
its views move 1.2 times as far; "wider": its originals lie further apart; "uneven": it moves twice as far under four
augmentations and half as far under four others. `all` has Student's interval of the jackknife; the nine together have
the max-T of the bootstrap or Student's at Bonferroni's level. "fixed": without the error of the baselines.

"nothing differs": how often `compare` finds something between "equal" encoders, by the rows of its own table: the row
`all` by its own interval, and any row of a metric by `significant`. With groups, images are in scenes of four, whose
contents and changes are correlated by 0.5; n counts scenes.
"""

import argparse
import time
from types import SimpleNamespace

import numpy as np
from scipy.stats import binomtest

from embedshift.arrays import GroupNumbers, Values
from embedshift.statistics.baselines import Baseline, cosine_baseline, cosine_pairs
from embedshift.statistics.intervals import simultaneous_intervals
from embedshift.statistics.shift_ratios import (
    Shifts,
    jackknife_deviations,
    log_ratios,
    over_augmentations,
    shifts,
    t_interval,
)
from embedshift.statistics.summary import COSINE
from embedshift.statistics.vectors import cosine, normalised
from embedshift.study.paired.means import _shift_rows, metric_differences
from embedshift.study.paired.studies import PairedStudies
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
            sums += [normalised(originals).sum(axis=0) for originals, _ in seen]
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
        baseline: Baseline = cosine_pairs(normalised(originals), one, one).baseline()
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


class Made(PairedStudies):
    """Two studies of the same images, made of numbers: what the rows of a comparison are made from."""

    augmentations, seed = [f"change-{number}" for number in range(len(AMOUNTS))], 0

    def __init__(self, seen: list[tuple[Values, Values]], units: GroupNumbers | None) -> None:
        n = len(seen[0][0])
        super().__init__(studies=[], ids=[f"{image:05d}" for image in range(n)], same_pixels=[True, True])
        self.distances = np.stack([distances for _, distances in seen])[..., None]
        one_each = np.zeros(n, np.intp) if units is None else units
        sums = (
            {} if units is None else {"group": units.astype(float), "size": np.bincount(units)[one_each].astype(float)}
        )
        parts = [{"vectors": {"vectors": normalised(originals)} | sums, "normalised": {}} for originals, _ in seen]
        baselines = [{COSINE: cosine_baseline(part.__getitem__, n)} for part in parts]
        reader = SimpleNamespace(groups=units)
        vars(self).update(baselines=baselines, groups=units, readers=[reader, reader], positions=[np.arange(n)] * 2)
        vars(self).update(metrics=[COSINE], names=["a", "b"], same_weights=[True, False], same_rows=[True, False])

    def values(self, metric: str, augmentations: object = None) -> Values:
        """1 - the distances."""
        return 1 - self.distances


def in_scenes(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Normal numbers `[4 n, ...]`, correlated by 0.5 within every four."""
    count, *others = shape
    scenes = np.repeat(rng.normal(size=(count // 4, *others)), 4, axis=0)
    return np.asarray(np.sqrt(0.5) * (scenes + rng.normal(size=shape)))


class Scenes:
    """A generator of normal numbers that are correlated within scenes."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def normal(self, size: tuple[int, ...]) -> Values:
        return in_scenes(self.rng, size)


def nothing_differs(repetitions: int) -> None:
    """Prints how often a comparison of equal encoders finds something, in %."""
    world = World("equal")
    metrics = ("relative_shift", "tail", COSINE)
    print("| images | n | " + " | ".join(f"{metric}: `all`, any row" for metric in metrics) + " | any row of all |")
    print("|---|---|" + "---|" * (len(metrics) + 1))
    for frames in (1, 4):
        for count in (8, 24, 50, 200):
            found = {metric: np.zeros(2, int) for metric in metrics}
            any_row = 0
            for seed in range(repetitions):
                rng = np.random.default_rng([seed, count])
                seen = world.seen(rng if frames == 1 else Scenes(rng), frames * count)  # type: ignore[arg-type]
                paired = Made(seen, None if frames == 1 else np.repeat(np.arange(count), frames))
                rows = [*_shift_rows(paired, 1), *metric_differences(paired, COSINE, paired.values(COSINE))[1]]
                for metric in metrics:
                    overall, *others = (row for row in rows if row["metric"] == metric)
                    ends = (1, "ratio") if "ratio" in overall else (0, "ci")
                    own = overall[f"{ends[1]}_low"] > ends[0] or overall[f"{ends[1]}_high"] < ends[0]
                    found[metric] += [own, any(row["significant"] for row in (overall, *others))]
                any_row += any(row["significant"] for row in rows)
            cells = [", ".join(_rate(hits, repetitions) for hits in found[metric]) for metric in metrics]
            kind = "independent" if frames == 1 else "in scenes of 4"
            print(f"| {kind} | {count} | " + " | ".join([*cells, _rate(any_row, repetitions)]) + " |", flush=True)


def _rate(hits: int, repetitions: int) -> str:
    """A rate in %; in bold where Clopper and Pearson's interval begins above 5 %."""
    words = f"{100 * hits / repetitions:.1f}"
    return f"**{words}**" if binomtest(int(hits), repetitions).proportion_ci().low > 0.05 else words


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--only", choices=["nothing_differs"])
    options, started = parser.parse_args(), time.perf_counter()
    repetitions = options.repetitions
    print(f"how often a comparison of equal encoders finds something, in %, {repetitions} repetitions a cell\n")
    nothing_differs(repetitions)
    print(f"\n{time.perf_counter() - started:.0f} s; {describe_machine()}\n")
    if options.only:
        return
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
