"""Upgrades of an encoder: the verdict beside the truth, coverage, thresholds elsewhere, seconds and memory.

usage: python benchmarks/upgrade.py truth OLD NEW [OLD NEW ...] [--margin 0.05] [--first photos]
       python benchmarks/upgrade.py coverage [--worlds 500] [--images 100 200]
       python benchmarks/upgrade.py false OLD NEW [--splits 30] [--rate 0.01]
       python benchmarks/upgrade.py large [--images 25000]

OLD and NEW are studies, or tables of vectors, of the same images. Truth: maps are fitted and judged on the images below
the folder `--first`; the written map is then applied to all others, in galleries as large as those judged. Coverage: of
`bridge`, in worlds whose true recall is that of maps fitted to four fifths of as many images, on fresh galleries as
large as those judged. False: thresholds are carried on half of the images and tried on the other half. Large: 100,000
vectors of 768 numbers to 512.
"""

import argparse
import resource
import time
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import print_head, print_machine, print_row
from embedshift.questions.upgrade.maps import Both, Fits, PairMoments, fit, moments_of
from embedshift.questions.upgrade.numbers import (
    BRIDGE,
    COPIES,
    NEW,
    OLD,
    ORIGINALS,
    Cut,
    Judging,
    Scores,
    evaluate,
    recalls,
    scores_of,
)
from embedshift.questions.upgrade.result import verdict_of
from embedshift.questions.upgrade.sides import both_of, drawn, opened
from embedshift.statistics.intervals import clopper_pearson
from embedshift.statistics.judged import Judged
from embedshift.statistics.linear_map import LinearMap
from embedshift.study import Study

FRESH, RECALL = 400, "recall@1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("truth", "coverage", "false", "large"))
    parser.add_argument("studies", nargs="*", type=Path)
    parser.add_argument("--margin", type=float, default=0.05)
    parser.add_argument("--first", default="photos")
    parser.add_argument("--worlds", type=int, default=500)
    parser.add_argument("--images", nargs="+", type=int, default=())
    parser.add_argument("--splits", type=int, default=30)
    parser.add_argument("--rate", type=float, default=0.01)
    options = parser.parse_args()
    if options.part == "truth":
        truth(list(zip(options.studies[::2], options.studies[1::2], strict=True)), options.margin, options.first)
    elif options.part == "coverage":
        coverage(options.worlds, options.images or (100, 200))
    elif options.part == "false":
        old, new = options.studies
        false(old, new, options.splits, options.rate)
    else:
        large(*(options.images or (25_000,)))
    print_machine()


def read(old: Path, new: Path) -> tuple[Both, Sequence[str]]:
    sides = opened(old), opened(new)
    first = sides[0]
    ids = first.reader().ordered_ids() if isinstance(first, Study) else first.ids
    seed = first.reader().info.seed if isinstance(first, Study) else 0
    return both_of(*sides, seed), drawn(ids, seed)


def part_of(both: Both, chosen: NDArray[np.bool_]) -> Both:
    count = int(chosen.sum())
    return Both(both.old[chosen], both.new[chosen], both.names, both.families, np.arange(count))


def elsewhere(both: Both, made: LinearMap) -> Scores:
    """Returns the scores of images through a map that none of them is in, in galleries as large as those judged."""
    flat = (made(np.nan_to_num(both.new[images].reshape(-1, both.new.shape[2]))) for images in both.judged)
    shapes = ((len(images), both.new.shape[1], -1) for images in both.judged)
    return scores_of(both, [part.reshape(shape) for part, shape in zip(flat, shapes, strict=True)], 0)


def beside_old(both: Both, scores: Scores) -> Judged:
    found = {name: recalls(both, scores, name, {RECALL: 1})[RECALL] for name in (OLD, BRIDGE)}
    return Judging(both, 0).judged(found[OLD], found[BRIDGE], RECALL)


def truth(pairs: Sequence[tuple[Path, Path]], margin: float, first: str) -> None:
    print_head(
        "upgrade",
        "map",
        "reported recall@1",
        "true recall@1",
        "worst loss reported, points",
        "true",
        "verdict",
        "agrees",
    )
    for old, new in pairs:
        both, ids = read(old, new)
        is_first = np.array([image_id.startswith(f"{first}/") for image_id in ids])
        fitted_on, other = part_of(both, is_first), part_of(both, ~is_first)
        made, found = evaluate(fitted_on, Cut(), margin, 0)
        names = [*dict.fromkeys(both.names)]
        verdict = verdict_of(
            found.recall, names, found.kind.name, margin, len(fitted_on.groups), len(fitted_on.groups) // 5
        )
        real = beside_old(other, elsewhere(other, made))
        lost = -100 * real.difference[:-1].min()
        agrees = verdict.decision == "not decided" or (lost > 100 * margin) == (verdict.decision == "re-encode")
        print_row(
            f"{old.stem} → {new.stem}", found.kind.name, _ends(found.recall), _ends(real),
            f"{100 * verdict.lost:.1f}, at worst {100 * verdict.at_worst:.1f} ({verdict.worst})",
            f"{lost:.1f} ({names[int(real.difference[:-1].argmin())]})", verdict.decision,
            "less decided" if verdict.decision == "not decided" else "yes" if agrees else "NO",
        )  # fmt: skip
        print(f"  {verdict.sentence()}", flush=True)
        print(
            f"  curve: {', '.join(f'{images} images {judged.value[-1]:.3f}' for images, judged in found.curve.items())}"
        )


def _ends(judged: Judged) -> str:
    low, high = (end[-1] for end in judged.own_interval())
    return f"{judged.value[-1]:.3f} ({low:.3f} to {high:.3f})"


def world(kind: str, count: int, seed: int) -> Both:
    """Vectors of 24 numbers to 16; "near" = turned, with noise; "far" = half of a view's change is in other numbers."""
    rng = np.random.default_rng([count, seed, len(kind)])
    fixed = np.random.default_rng(0)
    base = rng.normal(size=(count, 1, 24)) * np.linspace(0.4, 1.6, 24)
    hard = 0.7 * rng.lognormal(0, 0.5, (count, 1, 1))
    new = np.concatenate([base, base + hard * rng.normal(size=(count, 3, 24))], axis=1)
    turned = np.linalg.qr(fixed.normal(size=(24, 24)))[0][:, :16]
    noise = {"near": 0.2, "far": 0.8}[kind]
    old = new @ turned + noise * rng.normal(size=(count, 4, 16)) * hard + 0.3
    names = ["a", "b", "c"]
    return Both(
        old.astype(np.float32), new.astype(np.float32), names, dict(zip(names, names, strict=True)), np.arange(count)
    )


def held_out(both: Both) -> Judged:
    fits, folds = Fits(both, np.ones(len(both.groups), bool)), range(len(both.judged))
    chosen = [fits.choose([fold for fold in folds if fold != out], 0.01)[0] for out in folds]
    return beside_old(both, scores_of(both, fits.mapped(chosen), 0))


def coverage(worlds: int, sizes: Sequence[int]) -> None:
    print_head("world", "images", "of", "true", "mean of studies", "covered, %", "95 %")
    for kind in ("near", "far"):
        for count in sizes:
            real = [fresh(kind, count, 100_000 + seed) for seed in range(FRESH)]
            true = np.mean(real, axis=0)
            held, means = np.zeros(2), []
            for seed in range(worlds):
                judged = held_out(world(kind, count, seed))
                ends = [judged.own_interval(), judged.interval()]
                held += [low[0] <= value <= high[0] for (low, high), value in zip(ends, true, strict=True)]
                means.append((judged.value[0], judged.difference[0]))
            for place, name in enumerate(("recall@1", "difference")):
                low, high = clopper_pearson(held[place], worlds)
                print_row(
                    kind, count, name, f"{true[place]:.4f}", f"{np.mean(means, axis=0)[place]:.4f}",
                    f"{100 * held[place] / worlds:.1f}", f"{100 * low:.1f} to {100 * high:.1f}",
                )  # fmt: skip


def fresh(kind: str, count: int, seed: int) -> tuple[float, float]:
    """Returns recall@1 of one change through a map without it, and the difference from old queries, of fresh images."""
    size = count // 5
    both, other = world(kind, count - size, seed), world(kind, size, seed)
    fits = Fits(both, np.ones(len(both.groups), bool))
    chosen, _ = fits.choose(list(range(len(both.judged))), 0.01)
    moments = fits.without([], range(len(fits.halves)), views=chosen.uses_views)
    if chosen.uses_views:
        moments -= reduce(PairMoments.__add__, [moments_of(both, fold, both.columns(["a"])) for fold in fits.folds])
    queries = {OLD: other.old[:, 1], BRIDGE: fit(chosen, moments, both)(other.new[:, 1])}
    gallery = other.old[:, 0] / np.linalg.norm(other.old[:, 0], axis=1, keepdims=True)
    found = {
        name: float(((each @ gallery.T).argmax(axis=1) == np.arange(size)).mean()) for name, each in queries.items()
    }
    return found[BRIDGE], found[BRIDGE] - found[OLD]


def false(old: Path, new: Path, splits: int, rate: float) -> None:
    both, _ = read(old, new)
    rng, cut = np.random.default_rng(0), Cut(rate=rate)
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(splits):
        half = rng.permutation(len(both.groups)) < len(both.groups) // 2
        fitted_on, other = part_of(both, half), part_of(both, ~half)
        fits, folds = Fits(fitted_on, np.ones(len(fitted_on.groups), bool)), range(len(fitted_on.judged))
        kind = fits.choose(list(folds), 0.05)[0]
        here = scores_of(fitted_on, fits.mapped([kind for _ in folds]), 0)
        moments = fits.without([], range(len(fits.halves)), views=kind.uses_views)
        there = elsewhere(other, fit(kind, moments, fitted_on))
        for name in (NEW, BRIDGE):
            for queries in (ORIGINALS, COPIES):
                at, carried = cut.carried(here, name, queries)
                met = float((there.pooled(name, queries) >= carried).mean())
                rates.setdefault((name, queries), []).append(met / at)
    print_head("upgrade", "index", "queries", "times the asked rate, mean", "least", "most")
    for (name, queries), each in rates.items():
        print_row(
            f"{old.stem} → {new.stem}", name, queries, f"{np.mean(each):.2f}", f"{min(each):.2f}", f"{max(each):.2f}"
        )


def large(images: int) -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(images, 1, 768)).astype(np.float32)
    new = base + np.concatenate(
        [0 * base, *(0.8 * rng.normal(size=base.shape).astype(np.float32) for _ in range(3))], axis=1
    )
    turn = rng.normal(size=(768, 512)).astype(np.float32) / 28
    old = new @ turn + 0.2 * rng.normal(size=(*new.shape[:2], 512)).astype(np.float32)
    names = ["a", "b", "c"]
    both = Both(old, new, names, dict(zip(names, names, strict=True)), np.arange(images))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    started = time.perf_counter()
    made, found = evaluate(both, Cut(), 0.01, 0)
    judged = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    started = time.perf_counter()
    made(new.reshape(-1, 768))
    mapped = time.perf_counter() - started
    print_head("vectors", "judged, seconds", "peak MiB", "MiB of the vectors", "mapped, seconds", "map")
    print_row(f"{4 * images:,}", f"{judged:.0f}", peak, before, f"{mapped:.1f}", found.kind.name)


if __name__ == "__main__":
    main()
