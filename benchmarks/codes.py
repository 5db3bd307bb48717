"""Codes of vectors: seconds and memory of a search in a large gallery, and how often intervals hold the truth.

usage: python benchmarks/codes.py large STUDY [--gallery 100000] [--codes float32 int8 ...]
       python benchmarks/codes.py coverage [--worlds 500] [--images 50 200]

The gallery is drawn from the normal law with the mean and covariance of the study's originals. Coverage: of the paired
interval of the loss in recall@1, in worlds whose true loss is the mean of 400 other studies of the size; "grouped" has
groups of four images that are alike.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

import embedshift
from bench import print_head, print_machine, print_row
from embedshift.arrays import Floats, GroupNumbers
from embedshift.statistics.coded_search import evaluate
from embedshift.statistics.intervals import clopper_pearson
from embedshift.statistics.judged import Judged, Split, judge
from embedshift.statistics.retrieval import Gallery
from embedshift.statistics.vectors import normalised_float32
from embedshift.store.embeddings import vectors_of

CODES = ("float32", "int8", "binary-centred+rescore", "hnsw")
DIM, TRUTH = 32, 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("large", "coverage"))
    parser.add_argument("study", nargs="?", type=Path)
    parser.add_argument("--gallery", type=int, default=100_000)
    parser.add_argument("--codes", nargs="+", default=CODES)
    parser.add_argument("--worlds", type=int, default=500)
    parser.add_argument("--images", nargs="+", type=int, default=(50, 200))
    options = parser.parse_args()
    if options.part == "large":
        large(options.study, options.gallery, options.codes)
    else:
        coverage(options.worlds, options.images)
    print_machine()


def large(folder: Path, count: int, names: list[str]) -> None:
    originals = normalised_float32(vectors_of(embedshift.load(folder).reader())[0])
    rng = np.random.default_rng(0)
    drawn = rng.multivariate_normal(originals.mean(axis=0), np.cov(originals.T), count, check_valid="ignore")
    print_head("code", "searched among", "seconds", "CPU seconds", "peak MiB", "recall@1", "lost at most, points")
    with tempfile.TemporaryDirectory() as place:
        np.save(f"{place}/gallery.npy", drawn.astype(np.float32))
        for name in names:
            queue: multiprocessing.Queue[str] = multiprocessing.get_context("spawn").Queue()
            process = multiprocessing.get_context("spawn").Process(target=timed, args=(folder, place, name, queue))
            process.start()
            found = json.loads(queue.get())
            process.join()
            print_row(name, f"{count:,}", *found)


def timed(folder: Path, place: str, name: str, queue: "multiprocessing.Queue[str]") -> None:
    """Measures one code beside float32; of float32, itself alone."""
    study = embedshift.load(folder)
    started, processor = time.perf_counter(), time.process_time()
    table = study.table("codes", codes=name, gallery=f"{place}/gallery.npy")
    seconds, used = time.perf_counter() - started, time.process_time() - processor
    rows = table.filter(code=name, metric="recall@1")
    recall, lost = rows.filter(augmentation="all")["value"].item(), -100 * float(str(rows["difference"].min()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    queue.put(json.dumps([f"{seconds:.0f}", f"{used:.0f}", peak, f"{recall:.4f}", f"{max(0.0, lost):.2f}"]))


def coverage(worlds: int, sizes: list[int]) -> None:
    print_head("world", "images", "code", "true loss, points", "covered, %", "95 %")
    for kind in ("independent", "grouped"):
        for count in sizes:
            for name in ("int8-quantile", "truncated-8", "binary-hamming"):
                losses = [lost(kind, count, name, 10_000 + seed).difference[0] for seed in range(TRUTH)]
                true = float(np.mean(losses))
                held = 0
                for seed in range(worlds):
                    low, high = lost(kind, count, name, seed).interval()
                    held += bool(low[0] <= true <= high[0])
                ends = clopper_pearson(held, worlds)
                print_row(
                    kind, count, name, f"{-100 * true:.2f}", f"{100 * held / worlds:.1f}",
                    f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}",
                )  # fmt: skip


def lost(kind: str, count: int, name: str, seed: int) -> Judged:
    originals, views, groups = world(kind, count, seed)
    split = Split.of(np.arange(count) if groups is None else groups, {"change": "change"})
    found = dict(evaluate(["float32", name], Gallery.of(originals, groups), views[:, None, None], split))
    before, after = found["float32"], found[name]
    assert not isinstance(before, str)
    assert not isinstance(after, str)
    return judge(before.outcomes["recall@1"], after.outcomes["recall@1"], groups, seed=0)


def world(kind: str, count: int, seed: int) -> tuple[Floats, Floats, GroupNumbers | None]:
    rng, spread = np.random.default_rng([count, seed]), np.linspace(0.3, 2, DIM)
    groups = np.arange(count) // 4 if kind == "grouped" else None
    originals, hard = rng.normal(size=(count, DIM)) * spread + 0.4, rng.lognormal(0, 0.5, (count, 1))
    if groups is not None:
        centres, strength = rng.normal(size=(count, DIM)), rng.lognormal(0, 0.5, (count, 1))
        originals, hard = (0.8 * centres[groups] * spread + 0.6 * originals), strength[groups]
    views = originals + 0.8 * hard * rng.normal(size=originals.shape)
    return normalised_float32(originals.astype(np.float32)), normalised_float32(views.astype(np.float32)), groups


if __name__ == "__main__":
    main()
