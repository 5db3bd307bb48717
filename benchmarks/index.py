"""The table `index` on trial: fresh images, what luck recommends, coverage, a large gallery, and measured tables.

usage: python benchmarks/index.py fresh STUDY OTHER [--indexes whiten+binary ...]
       python benchmarks/index.py selection [--repetitions 2000] [--images 50 200 1000]
       python benchmarks/index.py coverage [--repetitions 2000] [--images 100 200] [--indexes whiten+binary ...]
       OMP_NUM_THREADS=1 python benchmarks/index.py large [--images 500] [--gallery 100000]
       python benchmarks/index.py suites STUDY OTHER [--indexes whiten+binary ...]

`fresh`: what indexes gain on one study as its experiment says, beside the gain of indexes that are fitted to all of its
images and judged by the images of the other one, whose changes are held out, too. `selection`: twenty alternatives that
lose exactly the margin under one of six changes; no encoder. `coverage`: intervals of the paired difference, where the
true difference is the mean of other studies of the size. `large`: CPU seconds and peak memory of `embedshift index`.
`suites`: the table of a study with the originals of the other one as its gallery. Both go both ways.
"""

import argparse
import resource
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

import embedshift
from bench import COMMAND, print_head, print_machine, print_row, timed
from embedshift.arrays import Floats
from embedshift.questions.index.experiment import Tried, Vectors, experiment
from embedshift.questions.index.tables import MARGIN, RATE, family_of, recommended
from embedshift.questions.index.vectors import Source
from embedshift.questions.index.verdicts import answer_of
from embedshift.report.numbers import with_ends
from embedshift.statistics.equivalence import RECALL
from embedshift.statistics.index import SearchIndex
from embedshift.statistics.index_parts import FLOAT32, parse
from embedshift.statistics.intervals import clopper_pearson
from embedshift.statistics.judged import BEYOND, Judged, Outcomes, Split, judge
from embedshift.statistics.vectors import normalised_float32

COMPOSITIONS = ("whiten+binary", "whiten+int8", "whiten+pca-1/4")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("fresh", "selection", "coverage", "large", "suites"))
    parser.add_argument("studies", nargs="*", type=Path)
    parser.add_argument("--repetitions", type=int, default=2_000)
    parser.add_argument("--images", nargs="+", type=int)
    parser.add_argument("--gallery", type=int, default=100_000)
    parser.add_argument("--indexes", nargs="+")
    options = parser.parse_args()
    if options.part in ("fresh", "suites"):
        first, second = options.studies
        for study, other in ((first, second), (second, first)):
            if options.part == "fresh":
                fresh(study, other, options.indexes or COMPOSITIONS)
            else:
                measured(study, other, options.indexes)
    elif options.part == "large":
        for images in options.images or (500,):
            large(images, options.gallery)
    elif options.part == "selection":
        selection(options.repetitions, options.images or (50, 200, 1_000))
    else:
        coverage(options.repetitions, options.images or (100, 200), options.indexes or COMPOSITIONS[:1])
    print_machine()


class OfOther(Split):
    """Images of fold 1 are judged, by what is fitted to those of fold 0."""

    def judged(self) -> list[NDArray[np.bool_]]:
        return [self.folds == 1]


def fresh(folder: Path, other: Path, names: Sequence[str]) -> None:
    """Prints both gains twice: with the gallery that a user has, and with one that nothing was fitted to.

    The first holds originals that the indexes for the fresh images were fitted to.
    """
    (own, families), (there, _) = _study(folder), _study(other)
    print(f"\nFitted to {folder.name}, fresh images of {other.name}; recall@1 over all changes, points (SE)\n")
    print_head("gallery", "index", "searched", "float32", "gain reported", "gain, fresh images", "difference", "in SE")
    split, parts = Split.of(own.groups, families), Split.of(there.groups, families).judged()
    for gallery, count in (("a fold, originals of the other", len(own.originals)), ("not fitted to", None)):
        others = there.originals[: count or int((~parts[0]).sum())]
        reported = _tried(experiment(names, replace(own, gallery=others), split, RATE))
        found = []
        for part in parts:
            searched = own.originals if count else there.originals[~part]
            found.append(_of_other(names, own, there, part, searched, families))
        for name in names:
            before, after = _gain(reported, name), _gain(_joined(found, parts), name)
            difference = before[0] - after[0], float(np.hypot(before[1], after[1]))
            base = np.nanmean(reported[FLOAT32].outcomes[RECALL].values)
            print_row(
                gallery, name, f"{reported[name].searched}, {found[0][name].searched}", f"{base:.3f}",
                *(f"{100 * value:+.2f} ({100 * error:.2f})" for value, error in (before, after, difference)),
                f"{difference[0] / difference[1]:+.1f}",
            )  # fmt: skip


def _study(folder: Path) -> tuple[Vectors, dict[str, str]]:
    """Vectors, and change -> what is left out with it."""
    reader = embedshift.load(folder).reader()
    source = Source(reader)
    assert source.groups is None
    return source.plain, family_of(reader)


def _tried(found: Iterable[tuple[str, Tried | str]]) -> dict[str, Tried]:
    return {name: tried for name, tried in found if isinstance(tried, Tried)}


def _of_other(
    names: Sequence[str],
    own: Vectors,
    there: Vectors,
    part: NDArray[np.bool_],
    gallery: Floats,
    families: Mapping[str, str],
) -> dict[str, Tried]:
    """What indexes that are fitted to all of one study find of some images of the other one."""
    pairs = (own.originals, there.originals), (own.views, there.views)
    originals, views = (np.concatenate([first, second[part]]) for first, second in pairs)
    folds = (np.arange(len(originals)) >= len(own.originals)).astype(np.intp)
    both = Vectors(originals, views, np.arange(len(originals)), own.names, gallery)
    tried = _tried(experiment(names, both, OfOther(folds, families), RATE))
    outcomes = {name: Outcomes(each.outcomes[RECALL].values[folds == 1]) for name, each in tried.items()}
    return {name: replace(each, outcomes={RECALL: outcomes[name]}) for name, each in tried.items()}


def _joined(found: Sequence[Mapping[str, Tried]], parts: Sequence[NDArray[np.bool_]]) -> dict[str, Tried]:
    """Outcomes of all images; every one is in one part."""
    joined = dict[str, Tried]()
    for name, first in found[0].items():
        values = np.full((len(parts[0]), *first.outcomes[RECALL].values.shape[1:]), np.nan)
        for part, each in zip(parts, found, strict=True):
            values[part] = each[name].outcomes[RECALL].values
        joined[name] = replace(first, outcomes={RECALL: Outcomes(values)})
    return joined


def _gain(tried: Mapping[str, Tried], name: str) -> tuple[float, float]:
    """The gain over float32 in the mean of all changes, and its standard error over images."""
    judged = judge(tried[FLOAT32].outcomes[RECALL], tried[name].outcomes[RECALL], seed=0)
    return float(judged.difference[-1]), float(judged.sample.error[-1])


CHANGES = [f"change {number}" for number in range(6)]
# Twenty alternatives; only their bytes matter.
TWENTY = [f"{maps}{size}+{code}" for maps in ("centred", "whiten") for size in ("", "+first-32", "+pca-16", "+pca-9",
          "+first-20") for code in ("int8", "binary")]  # fmt: skip
# How many images are found anew, and lost beside the margin: under the change that loses, and under the others.
ANEW = {"none": (0.0, 0.0), "2 % under that change": (0.02, 0.0), "1 % under every change": (0.01, 0.01)}


def selection(repetitions: int, sizes: Sequence[int]) -> None:
    """How often an alternative that loses the margin under one change is recommended."""
    print_head("alternatives", "found anew", "images", "recommended, %", "95 %", "studies")
    for alike in (0.0, 0.9):
        for anew in ANEW:
            for count in sizes:
                rngs = (np.random.default_rng([count, seed]) for seed in range(repetitions))
                hits = sum(_is_recommended(rng, count, alike, ANEW[anew]) for rng in rngs)
                kind = "alike" if alike else "independent"
                print_row(kind, anew, f"{count:,}", *_percent(hits, repetitions), f"{repetitions:,}")


def _percent(hits: int, number: int) -> tuple[str, str]:
    low, high = clopper_pearson(hits, number)
    return f"{100 * hits / number:.2f}", f"{100 * low:.2f} to {100 * high:.2f}"


def _is_recommended(rng: np.random.Generator, count: int, alike: float, anew: tuple[float, float]) -> bool:
    """Draws a study of images some of which are harder than others; of the found and of the others the same chance."""
    hard = rng.normal(size=(count, 1)) + rng.normal(size=(count, len(CHANGES)))
    base, shared = hard > np.sqrt(2) * ndtri(0.1), rng.normal(size=hard.shape)
    found = {FLOAT32: base}
    for place, name in enumerate(TWENTY):
        # Which images differ: as good as the same ones where alternatives are alike.
        chance = ndtr(np.sqrt(alike) * shared + np.sqrt(1 - alike) * rng.normal(size=hard.shape))
        losing = 0 if alike else place % len(CHANGES)
        also = np.where(np.arange(len(CHANGES)) == losing, *anew)
        loses = also + MARGIN * (np.arange(len(CHANGES)) == losing)
        found[name] = np.where(base, chance >= loses / 0.9, chance < also / 0.1)
    outcomes = {name: Outcomes(each[:, None].astype(np.float64)) for name, each in found.items()}
    tried = {name: Tried(SearchIndex(name, 64, [{}] * len(parse(name, 64))), {RECALL: each}, 1_000)
             for name, each in outcomes.items()}  # fmt: skip
    judged = {name: judge(outcomes[FLOAT32], each, seed=0) for name, each in outcomes.items()}
    return recommended(judged, tried, CHANGES, MARGIN) is not None


DIM, TRUTH, STRENGTHS = 48, 1_000, {"blur": 1.2, "crop": 1.7, "noise": 1.0}
# Views move mostly in six directions.
SPREAD = np.repeat([2.0, 0.45], [6, DIM - 6])


def coverage(repetitions: int, sizes: Sequence[int], names: Sequence[str]) -> None:
    """How often the interval of the difference holds the mean difference of other studies of the size."""
    print_head("images", "gallery", "index", "n", "under", "true gain, points (SE)", "covered, %", "95 %", "studies")
    for per_group, gallery in ((1, 0), (4, 0), (1, 200)):
        for count in sizes:
            for name in names:
                true = np.stack([_judged(name, count, per_group, gallery, 10**6 + k).difference for k in range(TRUTH)])
                held = np.zeros(true.shape[1], int)
                for seed in range(repetitions):
                    low, high = _judged(name, count, per_group, gallery, seed).interval()
                    held += (low <= true.mean(axis=0)) & (true.mean(axis=0) <= high)
                error = true.std(axis=0, ddof=1) / np.sqrt(TRUTH)
                for place, change in enumerate([*STRENGTHS, "all"]):
                    kind = "in groups of 4" if per_group > 1 else "independent"
                    print_row(
                        kind, gallery or "the fold", name, count, change,
                        f"{100 * true[:, place].mean():+.2f} ({100 * error[place]:.2f})",
                        *_percent(int(held[place]), repetitions), f"{repetitions:,}",
                    )  # fmt: skip


def _judged(name: str, count: int, per_group: int, gallery: int, seed: int) -> Judged:
    vectors = _world(np.random.default_rng([count, per_group, gallery, seed]), count, per_group, gallery)
    split = Split.of(vectors.groups, {each: each for each in vectors.names})
    tried = _tried(experiment([name], vectors, split, RATE))
    groups = vectors.groups if per_group > 1 else None
    return judge(tried[FLOAT32].outcomes[RECALL], tried[name].outcomes[RECALL], groups, seed=seed)


def _world(rng: np.random.Generator, count: int, per_group: int, gallery: int) -> Vectors:
    """Unit vectors whose images, or groups, differ in how far their views move."""
    groups = np.arange(count) // per_group
    originals = rng.normal(size=(count + gallery, DIM)) * np.linspace(1.4, 0.5, DIM) + 0.4
    hard = rng.lognormal(0, 0.4, (count, 1))
    if per_group > 1:
        centres = rng.normal(size=(count, DIM)) * np.linspace(1.4, 0.5, DIM) + 0.4
        originals[:count], hard = 0.7 * centres[groups] + 0.7 * originals[:count], hard[groups]
    moved = [size * hard * rng.normal(size=(count, DIM)) * SPREAD for size in STRENGTHS.values()]
    views = originals[:count, None, None] + np.stack(moved, axis=1)[:, None]
    unit = [normalised_float32(each.astype(np.float32)) for each in (originals, views)]
    return Vectors(unit[0][:count], unit[1], groups, [*STRENGTHS], unit[0][count:])


def large(images: int, gallery: int, dim: int = 512) -> None:
    """The command as it is called, with the default indexes; of its process and no other."""
    rng, spread = np.random.default_rng(0), np.linspace(1.5, 0.3, dim, dtype=np.float32)
    originals = rng.standard_normal((images, dim), np.float32) * spread + np.float32(0.3)
    views = {name: originals + 0.3 * rng.standard_normal(originals.shape, np.float32) for name in CHANGES}
    with tempfile.TemporaryDirectory() as place:
        study = embedshift.from_vectors(originals, views, out=Path(place) / "study")
        np.save(f"{place}/gallery.npy", rng.standard_normal((gallery, dim), np.float32) * spread + np.float32(0.3))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        words = [*COMMAND, "index", str(study.folder), "--gallery", f"{place}/gallery.npy", "--json"]
        seconds = timed(lambda: subprocess.run(words, check=True, capture_output=True))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    print_head("images x changes", "gallery", "seconds", "CPU seconds", "peak GiB")
    print_row(f"{images:,} x {len(CHANGES)}", f"{gallery:,}", f"{seconds:.0f}", f"{spent:.0f}",
              f"{used.ru_maxrss / 2**20:.2f}")  # fmt: skip


def measured(folder: Path, gallery: Path, indexes: Sequence[str] | None) -> None:
    """Prints the table of a study, with what is said of it."""
    study = embedshift.load(folder)
    table = study.table("index", measured=True, indexes=indexes, gallery=str(gallery))
    found = answer_of(study.reader(), table)
    print(f"\n{folder.name}, gallery {gallery.name}\n")
    print_head("index", "bytes", "recall@1 (95 %)", "gain, points", "matched", "lost at most", "under", "outcome",
               "images to decide")  # fmt: skip
    for each in found.verdicts:
        value, low, high = each.gain
        gain = with_ends(100 * value, 100 * low, 100 * high, 1, signed=True)
        matched = next(value for name, value in each.others.items() if name.startswith("matched@"))
        lost = f"{100 * each.lost:.1f}", each.worst if each.lost else "-"
        needed = "-" if each.outcome == BEYOND or not each.images_needed else f"{each.images_needed:,}"
        print_row(
            each.name, f"{each.searched:,.0f}", with_ends(*each.recall, 3), gain,
            "-" if matched is None else f"{matched:.3f}", *lost, each.outcome or "-", needed,
        )  # fmt: skip
    print("", *found.sentences(), sep="\n")


if __name__ == "__main__":
    main()
