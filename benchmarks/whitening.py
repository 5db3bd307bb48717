"""The table `whitening` against the truth: the gain of the same maps on fresh images, in synthetic worlds.

usage: python benchmarks/whitening.py [--worlds 500] [--images 50 200]

The truth is the gain in recall@1 of the maps of the folds on 20,000 fresh images, in galleries of the fold's size.
Prints the bias of the reported gain and the coverage of its interval, with their uncertainties, in points and %.
"""

from collections.abc import Sequence

import numpy as np

from bench import arguments, print_head, print_machine, print_row
from embedshift.questions.whitening import tables
from embedshift.questions.whitening.tables import AS_IS, RECALL, FoldImages
from embedshift.statistics.intervals import clopper_pearson
from embedshift.statistics.judged import FOLDS
from embedshift.statistics.whitening import Whitening

DIM, STRENGTHS, FRESH = 64, {"blur": np.float32(0.7), "noise": np.float32(1.0)}, 20_000
# Views lie around an offset, and their shifts mostly in 6 of the directions.
OFFSET, SPREAD = np.float32(0.3), np.repeat(np.array([5.0, 0.7], np.float32), [6, DIM - 6])


def main() -> None:
    options = arguments(__doc__, worlds=500, images=(50, 200))
    print_head("world", "images", "map", "true gain", "bias (standard error)", "covered (95 %)", "of")
    for world in ("few_directions", "clusters"):
        for count in options.images:
            compare_with_truth(world, count, options.worlds)
    print_machine()


def compare_with_truth(world: str, count: int, repetitions: int) -> None:
    found: dict[str, list[tuple[float, float, bool]]] = {}
    for seed in range(repetitions):
        rng = np.random.default_rng([count, seed])
        images = drawn(world, rng, count)
        truth = fresh_gains(images, [drawn(world, rng, FRESH // FOLDS) for _ in range(FOLDS)])
        rows, chosen = reported_gains(images)
        for kind, (value, low, high) in rows.items():
            row = value - truth[kind], truth[kind], low <= truth[kind] <= high
            for name in (kind, "recommended") if kind == chosen else (kind,):
                found.setdefault(name, []).append(row)
    for kind, rows_of_kind in found.items():
        bias, gain, covered = (np.array(each) for each in zip(*rows_of_kind, strict=True))
        low, high = clopper_pearson(covered.sum(), len(covered))
        error = 100 * bias.std(ddof=1) / np.sqrt(len(bias)) if len(bias) > 1 else np.nan
        print_row(
            world, count, kind, f"{100 * gain.mean():.1f}", f"{100 * bias.mean():+.2f} ({error:.2f})",
            f"{100 * covered.mean():.1f} ({100 * low:.1f} to {100 * high:.1f})", len(covered),
        )  # fmt: skip


def drawn(world: str, rng: np.random.Generator, count: int) -> FoldImages:
    """Originals vary less in later directions, or lie around 25 centres, so that those of one are mistaken."""
    originals = rng.standard_normal((count, DIM), np.float32)
    if world == "clusters":
        centres = np.random.default_rng(0).standard_normal((25, DIM), np.float32)
        originals = centres[rng.integers(25, size=count)] + np.float32(0.35) * originals
    else:
        originals = originals * np.linspace(1, 0.3, DIM, dtype=np.float32)
    originals = originals + OFFSET
    views = {
        name: (originals + strength * SPREAD * rng.standard_normal(originals.shape, np.float32))[:, None]
        for name, strength in STRENGTHS.items()
    }
    return FoldImages(originals, views, {name: name for name in views})


def reported_gains(images: FoldImages) -> tuple[dict[str, np.ndarray], str]:
    """Map → gain in recall@1, mean over the augmentations, and the ends of its interval; and the recommended map."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for kind, view, (numbers, _) in tables.results(images):
        found.setdefault(kind, {})[view] = numbers[RECALL]
    recall = {kind: np.stack([by_view[view] for view in images.views], axis=-1) for kind, by_view in found.items()}
    by_map = {kind: {RECALL: numbers} for kind, numbers in recall.items()}
    gains = {kind: tables.judged(by_map[AS_IS], by_map[kind], RECALL, None, 0) for kind in by_map if kind != AS_IS}
    rows = {
        kind: np.array([gain.difference[-1], *(end[-1] for end in gain.interval())]) for kind, gain in gains.items()
    }
    return rows, tables.recommended(by_map, None, 0)


def fresh_gains(images: FoldImages, fresh: Sequence[FoldImages]) -> dict[str, float]:
    """Map → the gain of the maps of the folds on fresh images, some for each fold, in galleries of the fold's size."""
    sizes, recall = np.bincount(images.split.folds), dict[str, list[float]]()
    for kind, members, (*maps, _) in tables.fits(images):
        for view in members:
            by_fold = [found_fresh(*each, view) for each in zip(maps, fresh, sizes, strict=True)]
            recall.setdefault(kind, []).append(float(np.average(by_fold, weights=sizes)))
    means = {kind: float(np.mean(by_view)) for kind, by_view in recall.items()}
    return {kind: mean - means[AS_IS] for kind, mean in means.items() if kind != AS_IS}


def found_fresh(whitening: Whitening | None, fresh: FoldImages, size: int, view: str) -> float:
    """Recall@1 in galleries of some images; the length of a query does not matter."""
    count = len(fresh.originals) // size * size
    gallery, queries = (through(whitening, raw[:count]) for raw in (fresh.originals, fresh.views[view][:, 0]))
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    gallery, queries = (vectors.reshape(-1, size, vectors.shape[1]) for vectors in (gallery, queries))
    return float(((queries @ gallery.swapaxes(1, 2)).argmax(axis=2) == np.arange(size)).mean())


def through(whitening: Whitening | None, raw: np.ndarray) -> np.ndarray:
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    return np.asarray(unit if whitening is None else (unit - whitening.mean) @ whitening.matrix)


if __name__ == "__main__":
    main()
