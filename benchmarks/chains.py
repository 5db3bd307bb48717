"""Chains of changes: do shifts add up, are predictions right, and which changes are named in copies.

usage: python benchmarks/chains.py law STUDY...
       python benchmarks/chains.py predict STUDY...
       python benchmarks/chains.py dissect REFERENCE COPIES [--pairs 20] [--repeats 60] [--changes NAME,NAME,...]

The studies are of two sets of photographs, each measured by `embedshift run PHOTOS --augmentations everyday --chains
benchmarks/net/chains.yaml`. "law": each chain against the sum of its parts. "predict": each chain predicted
from the others; the rate in which the interval holds the measured relative shift, and the recall@1 is not below the
bound. "dissect": fingerprints of the images of REFERENCE; copies are pairs drawn from COPIES, under single changes and
chains; then under each change that the fingerprints lack; then without any change that the study knows.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

import embedshift
from bench import print_head, print_machine, print_row
from embedshift.arrays import Floats
from embedshift.augmentations.chains import THEN
from embedshift.questions.chains.law import of_direction, of_length, sentences
from embedshift.questions.chains.numbers import Fingerprints, dissected_by
from embedshift.questions.chains.reference import Reference, measured_chains
from embedshift.questions.chains.sums import of_a_new_one
from embedshift.statistics.intervals import clopper_pearson


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("law", "predict", "dissect"))
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--changes", default="")
    options = parser.parse_args()
    if options.part == "dissect":
        reference, copies = (Reference.of(embedshift.load(folder).reader()) for folder in options.studies)
        changes = [*filter(None, options.changes.split(","))] or reference.singles
        dissect(reference.fingerprints(changes), copies, options.pairs, options.repeats)
    else:
        for folder in options.studies:
            study = embedshift.load(folder)
            print(f"{study.info()['encoder']['name']}, {study.info()['counts']['measured']} images, {folder.name}")
            {"law": law, "predict": predict}[options.part](study.chains())
    print_machine()


def law(table: pl.DataFrame) -> None:
    print_head("chain", "relative shift", "added up", "ratio", "cosine", "at most", "without noise",
               "direction", "length", "recall@1", "predicted")  # fmt: skip
    for row in table.iter_rows(named=True):
        numbers = [f"{row[name] or np.nan:.3f}" for name in ("relative_shift", "predicted", "ratio", "cosine")]
        more = [f"{row[name] or np.nan:.3f}" for name in ("cosine_ceiling", "agreement")]
        recalls = [f"{row[name]:.3f}" for name in ("recall", "recall_predicted")]
        print_row(row["chain"].replace(THEN, " → "), *numbers, *more, of_direction(row), of_length(row), *recalls)
    print(*sentences(table), sep="\n")


def predict(table: pl.DataFrame) -> None:
    logs = np.log(table["ratio"].to_numpy())
    lost = (table["recall"] - table["recall_predicted"]).to_numpy()
    held, kept, widths = list[bool](), list[bool](), list[float]()
    for place in range(len(table)):
        low, high = of_a_new_one(np.delete(logs, place))
        held.append(bool(low <= logs[place] <= high))
        widths.append(float(np.exp(high - low)))
        kept.append(bool(lost[place] >= of_a_new_one(np.delete(lost, place))[0] - 1e-9))
    print_head("chains", "interval holds", "ends apart by", "bound of recall@1 holds", "recall@1 not below predicted")
    print_row(len(table), rate(held), f"x {np.median(widths):.2f}", rate(kept), rate(lost >= 0))


def rate(values: Sequence[bool] | np.ndarray) -> str:
    hits, count = int(np.sum(values)), len(values)
    low, high = clopper_pearson(hits, count)
    return f"{hits} of {count} ({100 * hits / count:.1f} %, {100 * float(low):.1f} to {100 * float(high):.1f})"


def dissect(fingerprints: Fingerprints, copies: Reference, pairs: int, repeats: int) -> None:
    names, rng = fingerprints.names, np.random.default_rng(5)
    unseen = [name for name, seen in zip(names, fingerprints.seen, strict=True) if not seen]
    print(f"candidates: {', '.join(names)}\nwithout a fingerprint: {', '.join(unseen) or 'none'}")
    chains = measured_chains(copies.reader)
    exact, wrong, false = dict[int, list[bool]](), list[bool](), Counter[str]()

    def drawn(name: str) -> Floats:
        shifts = copies.changed([name])[:, 0, 0] - copies.images
        return np.asarray(shifts[rng.choice(len(shifts), pairs, replace=False)])

    for name in copies.reader.augmentations:
        parts = {*chains.get(name, (name,))}
        if not parts <= {*names}:
            continue
        known = parts - {*unseen}
        for repeat in range(repeats):
            said = {names[each] for each in dissected_by(fingerprints, drawn(name), seed=repeat).named}
            wrong.append(bool(said - parts))
            false.update([f"{name}: {', '.join(sorted(said - parts))}"] if said - parts else [])
            if known:
                exact.setdefault(len(parts), []).append(said == known)
    print_head("copies", "calls", "result")
    print_row("false names", len(wrong), rate(wrong))
    for count, found in sorted(exact.items()):
        print_row(f"exactly right, {count} changes", len(found), rate(found))
    left_out, siblings = list[bool](), 0
    for place in np.flatnonzero(fingerprints.seen).tolist():
        others = fingerprints.only([each for each in range(len(names)) if each != place])
        for repeat in range(repeats):
            named = dissected_by(others, drawn(names[place]), seed=repeat).named
            called = [names.index(others.names[each]) for each in named]
            is_sibling = {*called} <= {*fingerprints.alike(place)}
            left_out.append(not is_sibling)
            siblings += bool(called) and is_sibling
    print_row("a change left out, named as another that is not like it", len(left_out), rate(left_out))
    print_row("a change left out, named as its sibling", len(left_out), siblings)
    nothing(fingerprints, copies, pairs, repeats, rng)
    print("false names:", *(f"{words} ({count})" for words, count in false.most_common(8)), sep="\n  ")


def nothing(fingerprints: Fingerprints, copies: Reference, pairs: int, repeats: int, rng: np.random.Generator) -> None:
    images = copies.images
    for kind in ("random vectors", "equal vectors", "other images"):
        named = list[bool]()
        for repeat in range(repeats):
            one, other = (images[rng.permutation(len(images))[:pairs]] for _ in range(2))
            random = rng.normal(size=one.shape)
            random /= np.linalg.norm(random, axis=1, keepdims=True)
            shifts = {"random vectors": random - one, "equal vectors": one - one, "other images": other - one}[kind]
            named.append(bool(dissected_by(fingerprints, shifts.astype(np.float32), seed=repeat).named))
        print_row(f"{kind}: something is named", len(named), rate(named))


if __name__ == "__main__":
    main()
