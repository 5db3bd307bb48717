"""Do the intervals of a run that `--until` ended still cover? And how many images does it take?

usage: python benchmarks/until.py STUDY [--widths 0.5 0.2 0.1] [--repetitions 400] [--shard-size 64] [--first 0]

Images of a finished study are drawn with replacement, shard after shard, until the run would end; the interval of each
augmentation is then the one that its tables would show. The true value is that of the study's images, each pair of
which, of an image with itself too, is drawn equally often.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.statistics.baselines import KEPT, LEAST, Baseline, cosine_baseline, has_least, relative_shifts, widths
from embedshift.statistics.sample import Estimates, gather
from embedshift.statistics.summary import COSINE
from embedshift.statistics.vectors import normalised
from embedshift.store.reader import Reader
from machine import describe_machine

# Shards after which a repetition gives up, and images of a chunk where more images than `KEPT` are measured.
MOST, CHUNK = 256, 2


def population(folder: Path) -> tuple[list[str], Values, Values]:
    """The augmentations of a study, its cosines `[n, A]`, and the vectors of its originals `[n, D]`."""
    reader = Reader(folder)
    rows = reader.rows().select("image_id", "view", COSINE, "embedding").collect()
    vectors = rows.filter(pl.col("view") == ORIGINAL)["embedding"].to_numpy().astype(np.float64)
    cosines = [rows.filter(pl.col("view") == name)[COSINE].to_numpy() for name in reader.augmentations]
    return reader.augmentations, np.stack(cosines, axis=1), vectors


def estimates(cosines: Values, vectors: Values) -> tuple[Estimates, Baseline]:
    """The sample and the baseline of the images of some shards, as a run has them."""
    count = len(vectors)
    sums = {"vectors": vectors} if count <= KEPT else {}
    starts = np.arange(0, count, CHUNK)
    chunks = {
        "normalised": np.add.reduceat(normalised(vectors), starts, axis=0),
        "valid": np.diff([*starts, count]).astype(np.float64),
        "images": np.diff([*starts, count]).astype(np.float64),
    }
    baseline = cosine_baseline(lambda name: {"vectors": sums, "normalised": chunks}[name], count)
    assert baseline is not None
    assert baseline.pairs is not None
    sizes = [int(size) for size in baseline.pairs.images]
    return gather([(cosines, np.ones_like(cosines))], chunks=sizes), baseline


def stopped(cosines: Values, vectors: Values, width: float, shard: int, seed: int) -> tuple[int, Values, Values]:
    """The images after which a run ends, and the ends of its intervals."""
    drawn = np.random.default_rng([seed, shard]).integers(len(vectors), size=MOST * shard)
    for images in range(shard, MOST * shard + 1, shard):
        part = drawn[:images]
        if images < LEAST[0]:
            continue
        sample, baseline = estimates(cosines[part], vectors[part])
        if not has_least(sample, images):
            continue
        if (widths(sample, baseline, 1.0, (-1.0, 1.0), seed=seed, target=width) <= width).all():
            break
    shown = relative_shifts(sample, baseline, 1.0, seed=seed, limits=(-1.0, 1.0))
    return images, shown.low, shown.high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--widths", type=float, nargs="+", default=[0.5, 0.2, 0.1])
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--shard-size", type=int, default=64)
    parser.add_argument("--first", type=int, default=0, help="seed of the first repetition")
    options = parser.parse_args()
    names, cosines, vectors = population(options.study)
    units = normalised(vectors)
    truth = (1 - cosines.mean(axis=0)) / (1 - np.square(units.mean(axis=0)).sum())
    print(f"{len(vectors)} images of {options.study}; {options.repetitions} repetitions; coverage in %\n")
    print("| width | images (5 % to 95 %) | mean | " + " | ".join(names) + " |\n|---|---|---|" + "---|" * len(names))
    started = time.process_time()
    for width in options.widths:
        images, hits = [], []
        for seed in range(options.first, options.first + options.repetitions):
            count, low, high = stopped(cosines, vectors, width, options.shard_size, seed)
            images.append(count)
            hits.append((low <= truth) & (truth <= high))
        low, middle, high = np.quantile(images, [0.05, 0.5, 0.95])
        covered = 100 * np.mean(hits, axis=0)
        cells = [
            f"{middle:.0f} ({low:.0f} to {high:.0f})",
            f"{covered.mean():.1f}",
            *(f"{each:.1f}" for each in covered),
        ]
        print(f"| {width:g} | " + " | ".join(cells) + " |", flush=True)
    print(f"\nrelative shifts: {', '.join(f'{name} {value:.3f}' for name, value in zip(names, truth, strict=True))}")
    print(f"{time.process_time() - started:.0f} CPU seconds; {describe_machine()}")


if __name__ == "__main__":
    main()
