"""Do the intervals of thresholds and of AUCs cover? Made galleries, as those of search_prediction.py.

usage: python benchmarks/search_pairs.py [--repetitions 200]

The truth is that of all pairs of 4,000 images, in two halves. A threshold is that of a false-match rate of 0.01. Three
intervals of an AUC from the same error over images, that of the pairs included: "Clopper and Pearson" at the effective
number of comparisons, as the package has it, the normal law of the logit, and the bootstrap-t.
"""

import argparse
import time

import numpy as np

from embedshift.questions.search.matching import Pairs, all_pairs, auc_interval, auc_values, threshold, thresholds
from embedshift.statistics.intervals import mean_interval
from embedshift.statistics.sample import Estimates
from machine import describe_machine
from search_prediction import LARGER, WORLDS, World

NUMBERS, RATE = (50, 200), 0.01
KINDS = {
    "weak views": WORLDS["weak views"],
    "strong views": WORLDS["strong views"],
    "near-duplicates": WORLDS["near-duplicates"],
    "hardly any change": World(0.2, uneven=0.3, bursts=30),
}
Ends = tuple[float, float]


def logit(sample: Estimates) -> Ends:
    """The ends by the normal law of the logit; all where the AUC is 0 or 1."""
    value, error = sample.mean.item(), sample.error.item()
    if not 0 < value < 1:
        return value, value
    ends = np.log(value / (1 - value)) + np.array([-1.96, 1.96]) * error / (value * (1 - value))
    low, high = (1 / (1 + np.exp(-ends))).tolist()
    return low, high


def three_ways(sample: Estimates, seed: int) -> list[Ends]:
    """Intervals of an AUC."""
    pair, t = auc_interval(sample), mean_interval(sample, seed=seed, low=0.0, high=1.0)
    return [(pair[0].item(), pair[1].item()), logit(sample), (t[0].item(), t[1].item())]


def measured(originals: np.ndarray, views: np.ndarray) -> tuple[Pairs, Estimates]:
    """Pairs of images, and the numbers of an AUC."""
    pairs = all_pairs(originals)
    return pairs, auc_values((originals * views).sum(axis=1)[:, None], pairs)


def row(name: str, world: World, images: int, repetitions: int) -> str:
    """Coverage and mean width of the intervals."""
    draw, rng = world.sampler(), np.random.default_rng(2)
    halves = [measured(*(np.concatenate(two) for two in zip(draw(rng), draw(rng), strict=True))) for _ in range(2)]
    true_threshold = np.mean([threshold(pairs, RATE) for pairs, _ in halves])
    true_auc = np.mean([sample.mean.item() for _, sample in halves])
    ends: list[list[Ends]] = []
    for seed in range(repetitions):
        part = slice(seed % (LARGER // images) * images, None)
        if part.start == 0:
            originals, views = draw(rng)
        pairs, sample = measured(originals[part][:images], views[part][:images])
        table = thresholds(pairs, [RATE], seed)
        ends.append([(table["ci_low"].item(), table["ci_high"].item()), *three_ways(sample, seed)])
    low, high = np.moveaxis(np.array(ends, float), -1, 0)
    truth = np.array([true_threshold, *[true_auc] * 3])
    held = 100 * ((low <= truth) & (truth <= high)).mean(axis=0)
    width = np.nanmean(high - low, axis=0)
    cells = " | ".join(f"{cover:.1f} ({wide:.4f})" for cover, wide in zip(held, width, strict=True))
    return f"| {name} | {images} | {true_threshold:.3f} | {true_auc:.4f} | {cells} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=200)
    repetitions, started = parser.parse_args().repetitions, time.perf_counter()
    print(f"\ncoverage of 95 % intervals in %, and their mean width; {repetitions} repetitions\n")
    print("| images and views | images | threshold | AUC | of threshold | Clopper and Pearson | logit | bootstrap-t |")
    print("|---|---|---|---|---|---|---|---|")
    for name, world in KINDS.items():
        for images in NUMBERS:
            print(row(name, world, images, repetitions), flush=True)
    print(f"\n{describe_machine()}, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
