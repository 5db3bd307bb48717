"""The table `whitening` of a study against code written with scikit-learn, and how long a map of many vectors takes.

usage: python benchmarks/whitening.py STUDY... [--vectors 100000] [--dim 384]

For every study: recall@1 as it is, and with each map, for images (five parts, in the study's order) and families of
changes that were not fitted; by scikit-learn's `ShrunkCovariance` and `NearestNeighbors`. Then the time and memory to
fit a map to a synthetic study of many vectors.
"""

import argparse
import functools
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.covariance import ShrunkCovariance
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

import embedshift
from machine import describe_machine

RIDGE = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", metavar="STUDY", nargs="*", type=Path)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    options = parser.parse_args()
    for folder in options.studies:
        compare(folder)
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
        yield from found("originals", base, units, test, place, mapped(base[train] - mean, mean))
        for name in dict.fromkeys(family.get(view, view) for view in place):
            rest = [view for view in place if family.get(view, view) != name]
            shifts = np.concatenate([units[train, place[view]] - base[train] for view in rest])
            members = {view: place[view] for view in place if family.get(view, view) == name}
            yield from found("shifts", base, units, test, members, mapped(shifts, mean))


def centred(mean: np.ndarray, vectors: np.ndarray) -> Any:
    return normalize(vectors - mean)


def mapped(rows: np.ndarray, mean: np.ndarray) -> Any:
    """The map by the shrunk covariance of rows around 0, (1 - s) W + s tr(W) / D I with s / (1 - s) the ridge."""
    shrunk = ShrunkCovariance(assume_centered=True, shrinkage=RIDGE / (1 + RIDGE)).fit(rows)
    matrix = np.linalg.cholesky(shrunk.precision_)
    return lambda vectors: normalize((vectors - mean) @ matrix)


def found(
    kind: str, base: np.ndarray, units: np.ndarray, test: np.ndarray, place: dict[str, int], change: Any
) -> Iterator[tuple[str, str, list[bool]]]:
    nearest = NearestNeighbors(n_neighbors=1, algorithm="brute", metric="euclidean").fit(change(base))
    for name, position in place.items():
        first = nearest.kneighbors(change(units[test, position]), return_distance=False)[:, 0]
        yield kind, name, (first == test).tolist()


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
