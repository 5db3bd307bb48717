"""Do the intervals of a run that `--until` ended still cover? And how many images does it take?

usage: python benchmarks/until.py STUDY [--widths 0.5 0.2 0.1] [--repetitions 400] [--shard-size 64] [--first 0]

Images of a finished study are drawn with replacement, shard after shard, until the run would end; the interval of each
augmentation is then the one that its tables would show. The true value is that of the study's images, each pair of
which, of an image with itself too, is drawn equally often.
"""

import numpy as np
import polars as pl

from bench import arguments, print_head, print_machine, print_row
from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.statistics.baselines import KEPT, LEAST, Baseline, cosine_baseline, has_least, relative_shifts, widths
from embedshift.statistics.sample import Estimates, gather
from embedshift.statistics.summary import COSINE
from embedshift.statistics.vectors import normalised
from embedshift.store.reader import Reader
from simulated import holds

# Shards after which a repetition gives up, and images of a chunk where more images than `KEPT` are measured.
MOST, CHUNK = 256, 2


def estimates(cosines: Values, vectors: Values) -> tuple[Estimates, Baseline]:
    """The sample and the baseline of the images of some shards, as a run has them."""
    count = len(vectors)
    starts = np.arange(0, count, CHUNK)
    in_chunk = np.diff([*starts, count]).astype(np.float64)
    sums = np.add.reduceat(normalised(vectors), starts, axis=0)
    parts = {
        "vectors": {"vectors": vectors} if count <= KEPT else {},
        "normalised": {"normalised": sums, "valid": in_chunk, "images": in_chunk},
    }
    baseline = cosine_baseline(parts.__getitem__, count)
    assert baseline is not None
    assert baseline.pairs is not None
    sizes = [int(size) for size in baseline.pairs.images]
    return gather([(cosines, np.ones_like(cosines))], chunks=sizes), baseline


def stopped(cosines: Values, vectors: Values, width: float, shard: int, seed: int) -> tuple[int, Values, Values]:
    """The images after which a run ends, and the ends of its intervals."""
    drawn = np.random.default_rng([seed, shard]).integers(len(vectors), size=MOST * shard)
    for images in range(shard, MOST * shard + 1, shard):
        if images < LEAST[0]:
            continue
        sample, baseline = estimates(cosines[drawn[:images]], vectors[drawn[:images]])
        if not has_least(sample, images):
            continue
        if (widths(sample, baseline, 1.0, (-1.0, 1.0), seed=seed, target=width) <= width).all():
            break
    shown = relative_shifts(sample, baseline, 1.0, seed=seed, limits=(-1.0, 1.0))
    return images, shown.low, shown.high


def main() -> None:
    options = arguments(__doc__, "study", widths=(0.5, 0.2, 0.1), repetitions=400, shard_size=64, first=0)
    reader = Reader(options.study)
    names, rows = reader.augmentations, reader.rows().select("image_id", "view", COSINE, "embedding").collect()
    vectors = rows.filter(pl.col("view") == ORIGINAL)["embedding"].to_numpy().astype(np.float64)
    cosines = np.stack([rows.filter(pl.col("view") == name)[COSINE].to_numpy() for name in names], axis=1)
    truth = (1 - cosines.mean(axis=0)) / (1 - np.square(normalised(vectors).mean(axis=0)).sum())
    print(f"{len(vectors)} images of {options.study}; {options.repetitions} repetitions; coverage in %\n")
    print_head("width", "images (5 % to 95 %)", "mean", *names)
    for width in options.widths:
        seeds = range(options.first, options.first + options.repetitions)
        ends = [stopped(cosines, vectors, width, options.shard_size, seed) for seed in seeds]
        images, lows, highs = zip(*ends, strict=True)
        low, middle, high = np.quantile(images, [0.05, 0.5, 0.95])
        covered = 100 * holds(lows, highs, truth).mean(axis=0)
        count = f"{middle:.0f} ({low:.0f} to {high:.0f})"
        print_row(f"{width:g}", count, *(f"{each:.1f}" for each in (covered.mean(), *covered)))
    print(f"\nrelative shifts: {', '.join(f'{name} {value:.3f}' for name, value in zip(names, truth, strict=True))}")
    print_machine()


if __name__ == "__main__":
    main()
