"""Drift: which changes are named, how often wrongly, whether intervals hold the fraction, and a long stream.

usage: python benchmarks/drift.py names STUDY [--resamples 20]
       python benchmarks/drift.py left-out STUDY [--resamples 20]
       python benchmarks/drift.py two STUDY [--resamples 20] [--images 1000]
       python benchmarks/drift.py levels STRENGTH_STUDY [--resamples 20]
       python benchmarks/drift.py power STUDY [--resamples 20]
       python benchmarks/drift.py stream [--images 1000000]
       python benchmarks/drift.py worlds [--resamples 100]
       python benchmarks/drift.py half STUDY [--resamples 20]
       python benchmarks/drift.py content STUDY [--resamples 20]

The study is of 400 photographs, of photos/ and more_photos/. Reference and batch are 180 of one folder and 180 of the
other, in both directions, and random halves of all. "wrong": a change is named, and the true one is in no named set.
"two": vectors of batches are simulated, from a drawn original of the other half, plus the mean shift of the change and
the residual of another drawn image. "worlds": ten batches without a change a reference, of simulated images whose
variance is equal in all directions, or not. "half": greyscale in half of a batch, watermark in the other; where all
photographs are the reference, the batch is drawn from them, with replacement. "content": batches of one or two of eight
clusters (k-means) of other images.
"""

import argparse
import resource
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.cluster.vq import kmeans2

import embedshift
from bench import print_head, print_machine, print_row
from embedshift.arrays import Floats
from embedshift.questions.drift.numbers import (
    LEAST_BATCH,
    NOTHING,
    UNDECIDED,
    UNKNOWN,
    Moments,
    Named,
    Reference,
    judge,
    reference_of,
)
from embedshift.questions.drift.power import named_part
from embedshift.statistics.intervals import clopper_pearson
from embedshift.statistics.vectors import normalised_float32
from embedshift.store.embeddings import vectors_of

FRACTIONS = (0.0, 0.1, 0.3, 1.0)
SETTINGS = ("photos → more_photos", "more_photos → photos", "halves")
# Changes that are true to a person of a batch with the other, listed before anything was measured.
SIBLINGS = (
    ("recompress_75", "recompress_40", "messenger", "thumbnail"),
    ("watermark", "caption_bar", "screenshot"),
    ("crop_90", "rotate_3", "mirror", "screenshot"),
    ("brightness", "contrast", "warm_cold"),
)
DOUBLE = ("greyscale", "watermark", "screenshot", "crop_90")
Vectors = tuple[Sequence[str], Floats, np.ndarray, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "part", choices=("names", "left-out", "two", "levels", "power", "stream", "worlds", "half", "content")
    )
    parser.add_argument("study", nargs="?", type=Path)
    parser.add_argument("--resamples", type=int, default=20)
    parser.add_argument("--images", type=int)
    options = parser.parse_args()
    if options.part == "stream":
        stream(options.images or 1_000_000)
    elif options.part == "worlds":
        worlds(options.resamples)
    else:
        loaded = opened(options.study)
        if options.part == "names":
            names(loaded, options.resamples)
        elif options.part != "two":
            parts = {"left-out": left_out, "levels": levels, "power": power, "half": half, "content": content}
            parts[options.part](loaded, options.resamples)
        else:
            two(loaded, options.resamples, options.images or 1_000)
    print_machine()


def opened(folder: Path) -> Vectors:
    """Returns changes, vectors `[n, 1 + C, D]`, and which images are of photos/ and which of animals."""
    reader = embedshift.load(folder).reader()
    originals, views = vectors_of(reader)
    ids = reader.ordered_ids()
    vectors = np.concatenate([originals[: len(views), None], views[:, :, 0]], axis=1)
    animals = np.array([int(Path(each).name.split("_")[0][1:]) < 2_520_000 for each in ids])
    return reader.augmentations, normalised_float32(vectors), np.array(["more_" not in each for each in ids]), animals


def splits(loaded: Vectors, setting: int, resamples: int) -> Iterator[tuple[Reference, np.ndarray]]:
    changes, vectors, first, _ = loaded
    rng = np.random.default_rng(setting)
    for seed in range(resamples):
        if setting == 2:
            order = rng.permutation(len(vectors))
            reference, batch = order[: len(order) // 2], order[len(order) // 2 :]
        else:
            sides = [rng.permutation(np.flatnonzero(side))[:180] for side in (first, ~first)]
            reference, batch = sides if setting == 0 else sides[::-1]
        yield reference_of(changes, vectors[reference, 0], vectors[reference, 1:], seed=seed), batch


def judged(vectors: Floats, reference: Reference, seed: int = 1) -> Named:
    moments = Moments(vectors.shape[1], seed)
    moments.add(vectors)
    return judge(moments, reference)


def changed(vectors: Floats, batch: np.ndarray, change: int, fraction: float, rng: np.random.Generator) -> Floats:
    hit = rng.permutation(len(batch)) < round(fraction * len(batch))
    return np.asarray(np.where(hit[:, None], vectors[batch, 1 + change], vectors[batch, 0]))


def names(loaded: Vectors, resamples: int) -> None:
    changes, vectors, _, animals = loaded
    print_head("reference → batch", "fraction", "batches", "named", "wrong", "median set", "two named",
               "held, %", "held of named, %")  # fmt: skip
    all_named = all_wrong = 0
    sizes, held, named_changes = list[int](), list[bool](), Counter[tuple[float, str]]()
    quiet: Counter[tuple[str, str]] = Counter()
    for setting, label in enumerate(SETTINGS):
        rng, found = np.random.default_rng(100 + setting), dict[float, list[tuple[int, Named]]]()
        for reference, batch in splits(loaded, setting, resamples):
            for name, part in (("all", batch), ("animals", batch[animals[batch]]), ("things", batch[~animals[batch]])):
                quiet[name, "batches"] += 1
                quiet[name, "named"] += bool(judged(vectors[part, 0], reference).sets)
            for fraction in FRACTIONS[1:]:
                for change in range(len(changes)):
                    result = judged(changed(vectors, batch, change, fraction, rng), reference)
                    found.setdefault(fraction, []).append((change, result))
        for fraction, results in found.items():
            named = [(change, each) for change, each in results if each.sets]
            right = [(change, each) for change, each in named if any(change in own for own in each.sets)]
            covers = [holds(each, change, fraction) for change, each in results]
            own = [holds(each, change, fraction) for change, each in right]
            set_sizes = [len(each.sets[0]) for _, each in named]
            print_row(
                label, fraction, len(results), len(named), len(named) - len(right),
                np.median(set_sizes) if named else "-", sum(len(each.sets) > 1 for _, each in named),
                f"{100 * np.mean(covers):.1f}", f"{100 * np.mean(own):.1f}" if own else "-",
            )  # fmt: skip
            all_named, all_wrong = all_named + len(named), all_wrong + len(named) - len(right)
            sizes, held = sizes + set_sizes, held + covers
            named_changes.update((fraction, changes[change]) for change, _ in right)
    low, high = clopper_pearson(all_wrong, all_named)
    part = 100 * all_wrong / all_named
    print(f"\nnamed {all_named}, wrong {all_wrong}: {part:.2f} % ({100 * low:.2f} to {100 * high:.2f}); "
          f"median set {np.median(sizes)}; held {100 * np.mean(held):.1f} %")  # fmt: skip
    for name in ("all", "animals", "things"):
        print(f"untouched, {name}: named {quiet[name, 'named']} of {quiet[name, 'batches']}")
    for fraction in FRACTIONS[1:]:
        counts = (f"{name} {named_changes[fraction, name]}" for name in changes if named_changes[fraction, name])
        print(f"rightly named of {3 * resamples}, fraction {fraction:g}: {', '.join(counts)}")


def holds(found: Named, change: int, fraction: float) -> bool:
    own = found.fractions[change]
    return own.low - 1e-9 <= fraction <= own.high + 1e-9


def left_out(loaded: Vectors, resamples: int) -> None:
    changes, vectors, *_ = loaded
    named, unknown = Counter[tuple[str, str]](), Counter[str]()
    for reference, batch in splits(loaded, 2, resamples):
        for change, name in enumerate(changes):
            kept = [each for each in range(len(changes)) if each != change]
            found = judged(vectors[batch, 1 + change], subset(reference, kept))
            siblings = {other for group in SIBLINGS if name in group for other in group}
            sets = [{changes[kept[each]] for each in own} for own in found.sets]
            named[name, "none" if not sets else "sibling" if all(own & siblings for own in sets) else "other"] += 1
            unknown[name] += found.remains == UNKNOWN
    print_head("left out", "batches", "nothing named", "a sibling", "another", "a change that the study does not have")
    for name in changes:
        print_row(name, resamples, *(named[name, kind] for kind in ("none", "sibling", "other")), unknown[name])


def subset(reference: Reference, kept: list[int]) -> Reference:
    pairs = np.ix_(kept, kept)
    return replace(
        reference, names=tuple(reference.names[each] for each in kept),
        families=tuple(reference.families[each] for each in kept), shifts=reference.shifts[:, kept],
        gram_noise=reference.gram_noise[pairs], cross_noise=reference.cross_noise[kept], spread=reference.spread[pairs],
    )  # fmt: skip


def two(loaded: Vectors, resamples: int, count: int) -> None:
    changes, vectors, *_ = loaded
    both: Counter[tuple[str, str]] = Counter()
    others: Counter[tuple[str, str]] = Counter()
    for seed, (reference, batch) in enumerate(splits(loaded, 2, resamples)):
        rng = np.random.default_rng(seed)
        for pair in combinations(DOUBLE, 2):
            parts = [simulated(vectors, batch, 1 + changes.index(name), count // 2, rng) for name in pair]
            found = judged(np.concatenate(parts), reference)
            sets = [{changes[each] for each in own} for own in found.sets]
            both[pair] += len(sets) == 2 and any(pair[0] in sets[one] and pair[1] in sets[1 - one] for one in (0, 1))
            others[pair] += any(not own & {*pair} for own in sets)
    print_head("two changes, simulated", "vectors", "batches", "both named", "another named")
    for pair in combinations(DOUBLE, 2):
        print_row(" and ".join(pair), count, resamples, both[pair], others[pair])


def simulated(vectors: Floats, batch: np.ndarray, view: int, count: int, rng: np.random.Generator) -> Floats:
    originals, shifts = vectors[batch, 0], vectors[batch, view] - vectors[batch, 0]
    # Two hundred images drawn often have the mean of two hundred, which would be other content than a thousand's.
    originals = originals - originals.mean(axis=0) + vectors[:, 0].mean(axis=0)
    first, second = rng.integers(len(batch), size=(2, count))
    return np.asarray(originals[first] + shifts[second])


def levels(loaded: Vectors, resamples: int) -> None:
    """The level of the best name, where all images of a batch have one level of a family."""
    changes, vectors, *_ = loaded
    families = {name: name.split("@")[0] for name in changes}
    found: dict[str, list[tuple[int, Named]]] = {}
    for reference, batch in splits(loaded, 2, resamples):
        reference = replace(reference, families=tuple(families.values()))
        for change, name in enumerate(changes):
            found.setdefault(families[name], []).append((change, judged(vectors[batch, 1 + change], reference)))
    print_head(
        "family", "batches", "named", "another family", "level within one, % of named", "exact, %", "set holds it, %"
    )
    close_to, named_all = 0, 0
    for family, results in found.items():
        named = [(change, each) for change, each in results if each.sets]
        own = [(change, each.sets[0]) for change, each in named if families[changes[each.sets[0][0]]] == family]
        apart = np.array([abs(change - alike[0]) for change, alike in own])
        holding = np.mean([change in alike for change, alike in own]) if own else np.nan
        part = [(apart <= 1).sum() / max(len(named), 1), (apart == 0).sum() / max(len(named), 1), holding]
        print_row(family, len(results), len(named), len(named) - len(own), *(f"{100 * each:.1f}" for each in part))
        close_to, named_all = close_to + int((apart <= 1).sum()), named_all + len(named)
    print(f"\nlevel within one in {close_to} of {named_all} named batches: {100 * close_to / named_all:.1f} %")


def power(loaded: Vectors, resamples: int) -> None:
    """The simulated part of batches in which each change is named, beside the measured one."""
    changes, vectors, *_ = loaded
    found: dict[tuple[str, float], list[tuple[float, bool]]] = {}
    rng = np.random.default_rng(0)
    for reference, batch in splits(loaded, 2, resamples):
        for change, name in enumerate(changes):
            for fraction in FRACTIONS[1:]:
                result = judged(changed(vectors, batch, change, fraction, rng), reference)
                part = named_part(reference, change, fraction, len(batch)) if reference.seen[change] else 0.0
                found.setdefault((name, fraction), []).append((part, any(change in own for own in result.sets)))
    print_head("change", *(f"{fraction:g}: {kind}" for fraction in FRACTIONS[1:] for kind in ("simulated", "measured")))
    for name in changes:
        cells = np.array([np.mean(found[name, fraction], axis=0) for fraction in FRACTIONS[1:]])
        print_row(name, *(f"{each:.2f}" for each in cells.ravel()))
    whole = np.array([np.mean(each, axis=0) for each in found.values()])
    print(f"\nsimulated less measured: {(whole[:, 0] - whole[:, 1]).mean():+.3f} in the mean, "
          f"{np.abs(whole[:, 0] - whole[:, 1]).max():.2f} at most")  # fmt: skip


def worlds(references: int, count: int = 200, changes: int = 8, batches: int = 10) -> None:
    print_head("images", "D", "batches", "named", "%", "most of one reference", '"changed", not named', "outside")
    for kind in ("isotropic", "with a mean", "a third of the directions"):
        for size in (4, 8, 32, 64, 128):
            named, moved, outside = list[int](), 0, 0
            for seed in range(references):
                rng = np.random.default_rng((seed, size))
                spread = (
                    np.where(np.arange(size) < max(size // 3, 1), 1, 0.15) if kind.startswith("a") else np.ones(size)
                )
                middle = 0.0 if kind == "isotropic" else 0.5
                originals = rng.normal(size=(count, size)) * spread + middle
                moves = normalised_float32(rng.normal(size=(changes, size))) * 0.3 * np.linalg.norm(spread)
                views = originals[:, None] + moves * (1 + 0.5 * rng.normal(size=(count, changes, 1)))
                views += 0.06 * spread * rng.normal(size=views.shape)
                units = map(normalised_float32, (originals, views))
                reference = reference_of([str(each) for each in range(changes)], *units, seed=seed)
                drawn = (rng.normal(size=(count, size)) * spread + middle for _ in range(batches))
                found = [judged(normalised_float32(each), reference, seed) for each in drawn]
                named.append(sum(bool(each.sets) for each in found))
                moved += sum(each.remains == UNDECIDED for each in found)
                ends = [own for each in found for own in (*each.fractions, each.moved)]
                outside += sum(not own.low <= own.value <= own.high for own in ends)
            whole = references * batches
            part = f"{100 * sum(named) / whole:.1f}"
            print_row(kind, size, whole, sum(named), part, f"{max(named)} of {batches}", moved, outside)


def half(loaded: Vectors, resamples: int) -> None:
    changes, vectors, *_ = loaded
    pair = [1 + changes.index(name) for name in ("greyscale", "watermark")]
    print_head("reference", "batch", "batches", "one of the two named", "another named", "\"changed\"", "\"nothing\"",
               "needed is null", "unchanged: \"nothing\"")  # fmt: skip
    for count in (60, 200, len(vectors)):
        said: Counter[str] = Counter()
        for seed in range(resamples):
            rng = np.random.default_rng(seed)
            order = rng.permutation(len(vectors))
            reference, batch = order[:count], order[count:] if count < len(order) else rng.choice(order, count)
            fitted = reference_of(changes, vectors[reference, 0], vectors[reference, 1:], seed=seed)
            parts = [vectors[own, view] for own, view in zip(np.array_split(batch, 2), pair, strict=True)]
            found = judged(np.concatenate(parts), fitted)
            names_said = {1 + each for own in found.sets for each in own}
            said["right"] += bool(names_said & {*pair})
            said["wrong"] += any(not {1 + each for each in own} & {*pair} for own in found.sets)
            said["changed"] += found.remains == UNDECIDED
            said["nothing"] += not found.sets and found.remains == NOTHING
            said["null"] += not found.sets and found.needed is None
            said["quiet"] += judged(vectors[batch, 0], fitted).remains == NOTHING
        print_row(count, len(batch), resamples, *(said[key] for key in
                  ("right", "wrong", "changed", "nothing", "null", "quiet")))  # fmt: skip


def content(loaded: Vectors, resamples: int) -> None:
    vectors = loaded[1]
    said: Counter[tuple[str, str]] = Counter()
    for seed, (reference, batch) in enumerate(splits(loaded, 2, resamples)):
        labels = kmeans2(vectors[batch, 0].astype(float), 8, seed=seed, minit="++")[1]
        for count in (1, 2):
            for clusters in combinations(range(8), count):
                part = batch[np.isin(labels, clusters)]
                if len(part) >= LEAST_BATCH:
                    found = judged(vectors[part, 0], reference)
                    said[f"{count} of 8 clusters", f"{'named, ' * bool(found.sets)}{found.remains}"] += 1
    print_head("batch", "what remains", "batches")
    for (kind, words), batches in sorted(said.items()):
        print_row(kind, words, batches)


def stream(count: int) -> None:
    rng, size, batch = np.random.default_rng(0), 512, 10_000
    originals = normalised_float32(rng.normal(size=(1000, size)).astype(np.float32) + 1)
    views = normalised_float32(originals[:, None] + 0.3 * rng.normal(size=(1, 16, size)).astype(np.float32))
    reference = reference_of([f"change {each}" for each in range(16)], originals, views)
    drawn = normalised_float32(rng.normal(size=(batch, size)).astype(np.float32) + 1)
    started = time.perf_counter()
    for _ in range(count // batch):
        judged(drawn, reference)
    seconds, peak = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print_head("vectors", "batches", "seconds", "peak MiB")
    print_row(f"{count:,}", count // batch, f"{seconds:.0f}", peak)


if __name__ == "__main__":
    main()
