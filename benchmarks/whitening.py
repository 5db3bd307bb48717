"""The table `whitening` against code written with scikit-learn and against the truth; how long a map of many takes.

usage: python benchmarks/whitening.py STUDY... [--splits 30] [--worlds 500] [--vectors 100000] [--dim 384]

For every study: recall@1 as it is, and with each map, for images (five parts, in the study's order) and families of
changes that were not fitted, among the images of the part; by scikit-learn's `ShrunkCovariance` and `NearestNeighbors`.
Then the gain in recall@1 that the table reports for half of its images against that on the others, over
random splits. `--worlds`: the same in synthetic worlds, where the truth is the gain of the same maps on 20,000 fresh
images in galleries of the fold's size. Last the time and memory to fit a map to a study of many vectors.
"""

import argparse
import functools
import itertools
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.covariance import ShrunkCovariance
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

import embedshift
from embedshift.questions.whitening.tables import (
    AS_IS,
    FOLDS,
    RECALL,
    Images,
    fits,
    images_of,
    intervals,
    means_of,
    recommended,
    results,
)
from embedshift.statistics.intervals import clopper_pearson
from embedshift.statistics.whitening import Whitening
from machine import describe_machine

RIDGE = 0.1
# Of the synthetic worlds.
DIM, STRENGTHS, FRESH = 64, {"blur": np.float32(0.7), "noise": np.float32(1.0)}, 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", metavar="STUDY", nargs="*", type=Path)
    parser.add_argument("--splits", type=int, default=30)
    parser.add_argument("--worlds", type=int, default=500)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    options = parser.parse_args()
    for folder in options.studies:
        compare(folder)
        if options.splits:
            compare_with_fresh_images(folder, options.splits)
    for world, count in itertools.product(WORLDS if options.worlds else (), (50, 200)):
        compare_with_truth(world, count, options.worlds)
    if options.vectors:
        fit_many(options.vectors, options.dim)
    print(describe_machine())


def compare(folder: Path) -> None:
    """Prints recall by scikit-learn and by the table, and where they differ by more than one view."""
    study = embedshift.load(folder)
    begun = time.perf_counter()
    table = study.whitening()
    print(f"{folder}: the table took {time.perf_counter() - begun:.1f} s")
    rows = study.rows().select("view", "embedding").collect()
    views = [name for name, *_ in study.rows().select("view").head(1000).collect().iter_rows()]
    count = views.index("original", 1)
    vectors = rows["embedding"].to_numpy().reshape(-1, count, rows["embedding"].to_numpy().shape[1])
    units = normalize(vectors.reshape(-1, vectors.shape[2]).astype(np.float64)).reshape(vectors.shape)
    place = {name: views[:count].index(name) for name in study.augmentations}
    family = {view: each.name for each in study.reader().families for view in each.views}
    recall: dict[tuple[str, str], list[bool]] = {}
    for kind, name, hits in by_sklearn(units, views.index("original"), place, family):
        recall.setdefault((kind, name), []).extend(hits)
    means = {key: float(np.mean(hits)) for key, hits in recall.items()}
    for kind in ("as it is", "centred", "originals", "shifts"):
        own = [means[kind, name] for name in place]
        told = table.filter(map="shifts" if kind == "as it is" else kind, metric="recall@1").remove(augmentation="all")
        column = told["before" if kind == "as it is" else "after"].to_list()
        apart = np.abs(np.array(own) - np.array(column)).max() * len(vectors)
        print(
            f"  {kind:10} scikit-learn {np.mean(own):.3f}, table {np.mean(column):.3f}, {apart:.0f} views apart at most"
        )
    for name in dict.fromkeys(family.get(name, name) for name in place):
        members = [view for view in place if family.get(view, view) == name]
        numbers = [np.mean([means[kind, view] for view in members]) for kind in ("as it is", "originals", "shifts")]
        print(f"    {name:20} " + " → ".join(f"{number:.3f}" for number in numbers))
    best = table.filter("recommended", augmentation="all", metric="recall@1").to_dicts()
    print(f"  recommended: {best[0] if best else 'none'}")


def by_sklearn(
    units: np.ndarray, original: int, place: dict[str, int], family: dict[str, str]
) -> Iterator[tuple[str, str, list[bool]]]:
    """Yields map, augmentation and whether each held-out view finds its original."""
    numbers = np.arange(len(units))
    for train, test in ((numbers[numbers % 5 != part], numbers[numbers % 5 == part]) for part in range(5)):
        base, mean = units[:, original], units[train, original].mean(axis=0)
        yield from found("as it is", base, units, test, place, lambda vectors: vectors)
        yield from found("centred", base, units, test, place, functools.partial(centred, mean))
        yield from found("originals", base, units, test, place, fitted(base[train] - mean, mean))
        for name in dict.fromkeys(family.get(view, view) for view in place):
            rest = [view for view in place if family.get(view, view) != name]
            shifts = np.concatenate([units[train, place[view]] - base[train] for view in rest])
            members = {view: place[view] for view in place if family.get(view, view) == name}
            yield from found("shifts", base, units, test, members, fitted(shifts, mean))


def centred(mean: np.ndarray, vectors: np.ndarray) -> Any:
    return normalize(vectors - mean)


def fitted(rows: np.ndarray, mean: np.ndarray) -> Any:
    """The map by the shrunk covariance of rows around 0, (1 - s) W + s tr(W) / D I with s / (1 - s) the ridge."""
    shrunk = ShrunkCovariance(assume_centered=True, shrinkage=RIDGE / (1 + RIDGE)).fit(rows)
    matrix = np.linalg.cholesky(shrunk.precision_)
    return lambda vectors: normalize((vectors - mean) @ matrix)


def found(
    kind: str, base: np.ndarray, units: np.ndarray, test: np.ndarray, place: dict[str, int], change: Any
) -> Iterator[tuple[str, str, list[bool]]]:
    nearest = NearestNeighbors(n_neighbors=1, algorithm="brute", metric="euclidean").fit(change(base[test]))
    for name, position in place.items():
        first = nearest.kneighbors(change(units[test, position]), return_distance=False)[:, 0]
        yield kind, name, (first == np.arange(len(test))).tolist()


def few_directions(rng: np.random.Generator, count: int) -> Images:
    """Originals vary less in later directions."""
    return drawn(rng, normal(rng, count, DIM) * np.linspace(1, 0.3, DIM, dtype=np.float32))


def clusters(rng: np.random.Generator, count: int) -> Images:
    """Originals lie around 25 centres, so that those of one cluster are mistaken for each other."""
    centres = normal(np.random.default_rng(0), 25, DIM)
    return drawn(rng, centres[rng.integers(25, size=count)] + np.float32(0.35) * normal(rng, count, DIM))


WORLDS: tuple[Callable[[np.random.Generator, int], Images], ...] = (few_directions, clusters)


def drawn(rng: np.random.Generator, originals: np.ndarray) -> Images:
    """Views of originals around an offset, whose shifts lie mostly in 6 of 64 directions."""
    spread = np.repeat(np.array([5.0, 0.7], np.float32), [6, DIM - 6])
    originals = originals + np.float32(0.3)
    views = {
        name: (originals + strength * spread * normal(rng, *originals.shape))[:, None]
        for name, strength in STRENGTHS.items()
    }
    return Images(originals, views, {name: name for name in views})


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)


def reported_gains(images: Images) -> tuple[dict[str, np.ndarray], str]:
    """Map → gain in recall@1, mean over the augmentations, and the ends of its interval; and the recommended map."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for kind, view, (numbers, _) in results(images):
        found.setdefault(kind, {})[view] = numbers[RECALL]
    recall = {kind: np.stack([by_view[view] for view in images.views], axis=-1) for kind, by_view in found.items()}
    gains = {kind: numbers - recall[AS_IS] for kind, numbers in recall.items() if kind != AS_IS}
    rows = {
        kind: np.array([means_of(gain[0], None).mean[-1], *(end[-1] for end in intervals(gain, None, RECALL, 0))])
        for kind, gain in gains.items()
    }
    return rows, recommended({kind: {RECALL: numbers} for kind, numbers in recall.items()}, None, 0)


def fresh_gains(images: Images, fresh: Sequence[Images]) -> dict[str, float]:
    """Map → the gain of the maps of the folds on fresh images, some for each fold, in galleries of the fold's size."""
    sizes, recall = np.bincount(images.folds), dict[str, list[float]]()
    for kind, members, (*maps, _) in fits(images):
        for view in members:
            by_fold = [found_fresh(*each, view) for each in zip(maps, fresh, sizes, strict=True)]
            recall.setdefault(kind, []).append(float(np.average(by_fold, weights=sizes)))
    means = {kind: float(np.mean(by_view)) for kind, by_view in recall.items()}
    return {kind: mean - means[AS_IS] for kind, mean in means.items() if kind != AS_IS}


def found_fresh(whitening: Whitening | None, fresh: Images, size: int, view: str) -> float:
    """Recall@1 in galleries of some images; the length of a query does not matter."""
    count = len(fresh.originals) // size * size
    gallery, queries = (through(whitening, raw[:count]) for raw in (fresh.originals, fresh.views[view][:, 0]))
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    gallery, queries = (vectors.reshape(-1, size, vectors.shape[1]) for vectors in (gallery, queries))
    return float(((queries @ gallery.swapaxes(1, 2)).argmax(axis=2) == np.arange(size)).mean())


def through(whitening: Whitening | None, raw: np.ndarray) -> np.ndarray:
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    return np.asarray(unit if whitening is None else (unit - whitening.mean) @ whitening.matrix)


def compare_with_truth(world: Callable[[np.random.Generator, int], Images], count: int, repetitions: int) -> None:
    """Prints the bias of the reported gain and the coverage of its interval, with their uncertainties."""
    found: dict[str, list[tuple[float, float, bool]]] = {}
    for seed in range(repetitions):
        rng = np.random.default_rng([count, seed])
        images = world(rng, count)
        truth = fresh_gains(images, [world(rng, FRESH // FOLDS) for _ in range(FOLDS)])
        rows, chosen = reported_gains(images)
        for kind, (value, low, high) in rows.items():
            row = value - truth[kind], truth[kind], low <= truth[kind] <= high
            for name in (kind, "recommended") if kind == chosen else (kind,):
                found.setdefault(name, []).append(row)
    print(
        f"{world.__name__}, {count} images of {DIM} numbers, galleries of {count // FOLDS}, {repetitions} repetitions"
    )
    for kind, rows_of_kind in found.items():
        bias, gain, covered = (np.array(each) for each in zip(*rows_of_kind, strict=True))
        low, high = clopper_pearson(covered.sum(), len(covered))
        error = 100 * bias.std(ddof=1) / np.sqrt(len(bias))
        print(
            f"  {kind:12} true gain {100 * gain.mean():5.1f} points, bias {100 * bias.mean():+.2f} (SE {error:.2f}), "
            f"covered {100 * covered.mean():.1f} % ({100 * low:.1f} to {100 * high:.1f}) of {len(covered)}"
        )


def compare_with_fresh_images(folder: Path, splits: int, shuffles: int = 5) -> None:
    """Prints how much more the table reports of some images of a study than their maps gain on its other images."""
    every, differences = images_of(embedshift.load(folder).reader()), dict[str, list[float]]()
    for seed in range(splits):
        rng = np.random.default_rng(seed)
        own, others = np.split(rng.permutation(len(every.originals)), [len(every.originals) // 2])
        fresh = taken(every, np.concatenate([rng.permutation(others) for _ in range(shuffles)]))
        images = taken(every, own)
        truth, (rows, _) = fresh_gains(images, [fresh] * FOLDS), reported_gains(images)
        for kind, (value, *_) in rows.items():
            differences.setdefault(kind, []).append(100 * (value - truth[kind]))
    print(f"{folder}: gain reported for {len(own)} images minus that on {len(others)} fresh ones, {splits} splits")
    for kind, each in differences.items():
        print(f"  {kind:10} {np.mean(each):+.2f} points (SE {np.std(each, ddof=1) / np.sqrt(splits):.2f})")


def taken(images: Images, index: np.ndarray) -> Images:
    views = {name: vectors[index] for name, vectors in images.views.items()}
    return Images(images.originals[index], views, images.families)


def fit_many(vectors: int, dim: int) -> None:
    """Prints the time to fit a map to a study of many vectors, half originals and half views, and the peak memory."""
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.synthetic import make_study

    with tempfile.TemporaryDirectory() as temporary:
        study = make_study(Path(temporary) / "s", vectors // 2, ["blur"], dim=dim, grid=None, with_tables=False)
        before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        embedshift.whiten(study, map="shifts", out=Path(temporary) / "map.npz")
        seconds, peak = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        size = (Path(temporary) / "map.npz").stat().st_size
    memory = f"peak {peak / 2**20:.2f} GiB ({before / 2**20:.2f} before)"
    print(f"{vectors:,} vectors of {dim} numbers: {seconds:.1f} s; {memory}; a file of {size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
