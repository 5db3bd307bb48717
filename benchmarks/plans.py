"""Do plans of `embedshift power` for a loss of recall@1 reach their power of 80 %? On whole simulated studies.

usage: python benchmarks/plans.py [--studies 300] [--pilots 20] [--images 200] [--loss 0.05]

Images are vectors, alone or around 40 centres, and a view is its image moved by a lognormal amount in a random
direction; it is searched among all images of its study, so that a larger study finds fewer. Pilots of `--images` images
plan how many find the loss; the median plan is then measured `--studies` times, with the loss: some views of one side
are moved far away. Two augmentations are one of six pairs of four, corrected for all; two encoders are random halves
of the dimensions, and are planned from whole vectors. Halves differ in recall by chance, by 1 to 3 points: the second
of each pair loses so many views that its recall is lower by exactly the loss. The power should be 77 to 83 %.
"""

import itertools
import statistics
from collections.abc import Iterator, Sequence

import numpy as np

from bench import arguments, print_head, print_machine, print_row
from embedshift.arrays import Values
from embedshift.statistics.halves import Half, compared_halves, discordance
from embedshift.statistics.intervals import OF_ONE, clopper_pearson
from embedshift.statistics.judged import Outcomes, judge
from embedshift.statistics.paired import critical_of_signs, discordance_growth, found_first, paired_gains
from embedshift.statistics.power import Discordance, plan_for_loss
from embedshift.statistics.vectors import halves, normalised_float32
from embedshift.study.paired.estimate import judged_estimate

DIM, CHANGES = 48, 4
SCALE = np.arange(1.0, DIM + 1) ** -0.6
CENTRES = 1.2 * SCALE * np.random.default_rng(5).normal(size=(40, DIM))
# Images around centres, and how far views are moved.
WORLDS = {
    "alone, near": (False, 0.3),
    "alone, far": (False, 0.6),
    "clusters, near": (True, 0.3),
    "clusters, far": (True, 0.6),
}
# Pairs of halves, and studies that find their recall.
ROTATIONS, LARGER = 30, 40


def study(rng: np.random.Generator, images: int, world: str, changes: int, lost: float = 0.0) -> Half:
    """Originals and views, of which a part of the last change's is far away."""
    in_clusters, far = WORLDS[world]
    own = SCALE * rng.normal(size=(images, DIM))
    originals = CENTRES[rng.integers(len(CENTRES), size=images)] + 0.8 * own if in_clusters else own
    sizes = np.exp(0.5 * rng.normal(size=(images, 1, 1)) + 0.4 * rng.normal(size=(images, changes, 1)))
    views = originals[:, None] + far * sizes * SCALE * rng.normal(size=(images, changes, DIM))
    is_lost = rng.uniform(size=images) < lost
    views[is_lost, -1] = SCALE * rng.normal(size=(int(is_lost.sum()), DIM))
    return Half(*map(normalised_float32, (originals, views[:, :, None])))


def of_augmentations(made: Half, loss: float) -> int:
    """The plan for the first pair from a pilot."""
    ranks = made.ranks(None)
    gains, n = paired_gains(found_first(ranks)[:, 0], seed=0), len(ranks)
    growth = discordance_growth(ranks[..., 0], ranks[..., -1])
    pair = [*itertools.combinations(range(CHANGES), 2)].index((0, CHANGES - 1))
    pilot = Discordance.of(float(gains.gained[pair]), float(gains.lost[pair]), pilot=n, growth=growth, others=0)
    return plan_for_loss(pilot, loss, critical_of_signs(gains.sums, seed=0, is_large=True)).n or 0


def finds_augmentations(made: Half, seed: int) -> bool:
    intervals = paired_gains(found_first(made.ranks(None))[:, 0], seed=seed).intervals
    pair = [*itertools.combinations(range(CHANGES), 2)].index((0, CHANGES - 1))
    return bool(intervals.significant[pair] and intervals.low[pair] > 0)


def of_encoders(made: Half, loss: float) -> int:
    compared = [*compared_halves(made.originals, made.views, np.array([True]), 0)]
    return plan_for_loss(discordance(compared, 0, 0), loss, OF_ONE).n or 0


def both_encoders(made: Half, rotation: int) -> list[Values]:
    """What two halves find."""
    flat = np.concatenate([made.originals, made.views[:, 0, 0]])
    return [
        found_first(Half(half[: len(made.views)], half[len(made.views) :, None, None]).ranks(None))
        for half in next(halves(flat, seed=rotation, rotations=1))
    ]


def finds_encoders(made: Half, seed: int, rotation: int, lost: float) -> bool:
    first, second = both_encoders(made, rotation)
    is_lost = np.random.default_rng([seed, 1]).uniform(size=second.shape) < lost
    before, after = Outcomes(first), Outcomes(np.where(is_lost, 0.0, second))
    return judged_estimate(judge(before, after, seed=seed), 0).high < 0


def parts_lost(larger: Sequence[Half], loss: float) -> Iterator[tuple[int, float]]:
    """Pairs of halves that are nearly equal, and which part of its views the second one loses."""
    for rotation in range(ROTATIONS):
        first, second = np.mean([[*map(np.mean, both_encoders(each, rotation))] for each in larger], axis=0)
        if abs(first - second) < loss / 2:
            yield rotation, 1 - (first - loss) / second


def planned(kind: str, world: str, loss: float, images: int, pilots: int, studies: int) -> None:
    """Prints the plan, and how often it finds the loss."""
    is_pair, name = kind == "two augmentations", [*WORLDS].index(world)
    changes, plan = (CHANGES, of_augmentations) if is_pair else (1, of_encoders)
    made = [study(np.random.default_rng([name, seed]), images, world, changes) for seed in range(pilots)]
    n, found = int(statistics.median(plan(each, loss) for each in made)), 0
    larger = [study(np.random.default_rng([name, seed, 1]), n, world, changes) for seed in range(LARGER)]
    # So many views are lost that recall falls by the loss: some would not be found anyway.
    recall = float(np.mean([found_first(each.ranks(None))[..., -1] for each in larger]))
    parts = [(0, loss / recall)] if is_pair else [*parts_lost(larger, loss)]
    for seed in range(studies):
        rotation, lost = parts[seed % len(parts)]
        measured = study(np.random.default_rng([name, seed, 2]), n, world, changes, lost if is_pair else 0.0)
        found += finds_augmentations(measured, seed) if is_pair else finds_encoders(measured, seed, rotation, lost)
    low, high = (100 * float(end) for end in clopper_pearson(found, studies))
    print_row(kind, world, f"{recall:.3f}", n, f"{100 * found / studies:.1f} % [{low:.1f} to {high:.1f}]")


def main() -> None:
    options = arguments(__doc__, studies=300, pilots=20, images=200, loss=0.05, kind=("augmentations", "encoders"))
    print(f"\nA loss of {100 * options.loss:g} points, planned from {options.images} images for a power of 80 %\n")
    print_head("compared", "images", "recall@1", "planned", "power")
    for kind, world in itertools.product(options.kind, WORLDS):
        planned(f"two {kind}", world, options.loss, options.images, options.pilots, options.studies)
    print_machine()


if __name__ == "__main__":
    main()
