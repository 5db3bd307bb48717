"""Do predictions of recall@1 in larger galleries hold? Made galleries of 1,000 images, predicted from 200 of them.

usage: python benchmarks/search_prediction.py [--repetitions 200]

Embeddings of 384 dimensions lie in a cone as those of photos do: different images have a mean cosine of 0.70 (standard
deviation 0.11), with a heavy upper tail. A view is its original and noise, of a strength that is lognormal over images.
"Error" is against the same 200 queries in the whole gallery; "coverage" is the fraction of intervals that hold the
recall of new queries, which is the mean over all queries of all galleries. The package's prediction is a line in the
logarithm of the size; beside it stand the recall at 200, unchanged, and one chance of a better image for all queries.
A gallery whose recall is too low for a prediction counts in no number of its row. Ends with 1 if a limit is missed.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from embedshift.questions.search.ranks import KEPT, SearchRanks, gallery_sizes
from embedshift.statistics.vectors import normalised
from machine import describe_machine

DIM, SIZE, LARGER = 384, 200, 1_000
MEAN_ERROR, RMS_ERROR, COVERAGE = 0.015, 0.04, 0.90


@dataclass(frozen=True)
class World:
    """A kind of images and views.

    Args:
        strength: Median strength of the noise of views.
        uneven: How the logarithm of the strength varies over images.
        clusters: Number of classes, with few images in most; 0 = none.
        bursts: Number of images that near-duplicates are made of; 0 = none.
        near: How far near-duplicates are from each other.
        drift: How far views move in one common direction.
        decay: How fast the variance of images falls from direction to direction; 0 = spread evenly.
        directions: Number of directions that images vary in.
    """

    strength: float
    uneven: float = 0.6
    clusters: int = 0
    bursts: int = 0
    near: float = 0.15
    drift: float = 0.0
    decay: float = 1.3
    directions: int = DIM

    def scale(self, decay: float, directions: int) -> np.ndarray:
        """Standard deviations of the directions; the total variance is 0.45, beside a common part of length 1."""
        variance = np.arange(1, DIM + 1.0) ** -decay * (np.arange(DIM) < directions)
        return np.asarray(np.sqrt(0.45 * variance / variance.sum()))

    def sampler(self) -> Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]:
        """A function that draws originals and views at length 1, `[LARGER, DIM]` each, of one population."""
        rng = np.random.default_rng(0)
        scale, noise = self.scale(self.decay, self.directions), self.scale(0.6 * (self.decay > 0), self.directions)
        centres, bursts = (rng.normal(size=(max(1, count), DIM)) * scale for count in (self.clusters, self.bursts))
        often = np.arange(1, max(1, self.clusters) + 1.0) ** -0.7
        away = self.drift * rng.normal(size=DIM) * scale

        def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            images = rng.normal(size=(LARGER, DIM)) * scale
            if self.clusters:
                of = rng.choice(self.clusters, LARGER, p=often / often.sum())
                images = 0.55 * images + np.sqrt(1 - 0.55**2) * centres[of]
            if self.bursts:
                part = rng.random(LARGER) < 0.3
                images[part] = self.near * images[part] + bursts[rng.integers(self.bursts, size=part.sum())]
            images[:, -1] += 1.0
            strength = self.strength * np.exp(self.uneven * rng.normal(size=(LARGER, 1)))
            return normalised(images), normalised(images + strength * (rng.normal(size=(LARGER, DIM)) * noise + away))

        return draw


WORLDS = {
    "weak views": World(0.5),
    "stronger views": World(0.7),
    "strong views": World(1.2, uneven=0.8),
    "very uneven views": World(0.6, uneven=1.2),
    "views that drift": World(0.6, drift=1.0),
    "images in classes": World(0.5, clusters=60),
    "near-duplicates": World(0.45, uneven=0.7, bursts=400),
    "more near-duplicates": World(0.8, uneven=0.7, bursts=250, near=0.25),
    "images spread evenly": World(2.5, decay=0.0),
    "views that drift far": World(0.6, drift=1.5),
    "images in 12 even directions": World(0.8, decay=0.0, directions=12),
}
# Below the least recall that is predicted from.
LOW_RECALL = {"views that few find": World(0.6, drift=4.0)}
WAYS = ("line", "unchanged", "one chance")


def searched(cosines: np.ndarray) -> SearchRanks:
    """What the first views find among as many originals."""
    part = cosines[:SIZE, :SIZE]
    own = np.diag(part)
    others = part[~np.eye(SIZE, dtype=bool)].reshape(SIZE, -1)
    ranks = 1.0 + (others >= own[:, None]).sum(axis=1)
    return SearchRanks(ranks[:, None], own[:, None], -np.sort(-others, axis=1)[:, None, :KEPT], SIZE)


def one_chance(recall: float) -> float:
    """The recall in the larger gallery if each image is a better one with the same chance, for all queries."""
    chance = optimize.brentq(lambda p: (1 - p) ** (SIZE - 1) - recall, 0.0, 1.0) if 0 < recall < 1 else 1 - recall
    return float((1 - chance) ** (LARGER - 1))


def row(name: str, world: World, repetitions: int) -> tuple[str, bool]:
    """A row of the table, and whether it keeps the limits."""
    draw, rng = world.sampler(), np.random.default_rng(1)
    same, every, before, predictions, ends = [], [], [], [], []
    for _ in range(repetitions):
        originals, views = draw(rng)
        cosines = views @ originals.T
        hits = cosines.argmax(axis=1) == np.arange(LARGER)
        every.append(hits.mean())
        search = searched(cosines)
        now = float((search.ranks == 1).mean())
        before.append(now)
        for prediction in gallery_sizes({name: search}).filter(images=LARGER, kind="predicted").to_dicts():
            same.append(hits[:SIZE].mean())
            predictions.append((prediction["recall"], now, one_chance(now)))
            ends.append((prediction["ci_low"], prediction["ci_high"]))
    begin = f"| {name} | {np.mean(before):.3f} | {np.mean(every):.3f} | {len(ends)} | "
    if not ends:
        return begin + "| ".join(["- "] * (len(WAYS) + 1)) + "|", True
    errors = np.array(predictions) - np.array(same)[:, None]
    mean, rms = errors.mean(axis=0), np.sqrt((errors**2).mean(axis=0))
    low, high = np.transpose(ends)
    coverage = float(((low <= np.mean(every)) & (np.mean(every) <= high)).mean())
    kept = bool(abs(mean[0]) <= MEAN_ERROR and rms[0] <= RMS_ERROR and coverage >= COVERAGE)
    cells = " | ".join(f"{a:+.3f} / {b:.3f}" for a, b in zip(mean, rms, strict=True))
    return f"{begin}{cells} | {100 * coverage:.1f} |", kept


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=200)
    repetitions = parser.parse_args().repetitions
    started, missed = time.perf_counter(), []
    print(f"\nrecall@1 among {LARGER} images, predicted from {SIZE}: mean error / root mean square, coverage in %;")
    print(f"{repetitions} repetitions\n")
    print(f"| images and views | at {SIZE} | at {LARGER} | predicted | " + " | ".join(WAYS) + " | coverage |")
    print("|---|---|---|---|" + "---|" * (len(WAYS) + 1))
    for name, world in {**WORLDS, **LOW_RECALL}.items():
        line, kept = row(name, world, repetitions)
        print(line, flush=True)
        missed += [] if kept else [name]
    print(f"\n{describe_machine()}, {time.perf_counter() - started:.0f} s")
    if missed:
        sys.exit(f"mean error above {MEAN_ERROR}, root mean square above {RMS_ERROR} or coverage below 90 %: {missed}")


if __name__ == "__main__":
    main()
