"""The table `threshold` on trial: its guarantee, flagged batches, re-splits of photographs, the score, a large gallery.

usage: python benchmarks/threshold.py guarantee [--repetitions 2000]
       python benchmarks/threshold.py flags [--repetitions 2000]
       python benchmarks/threshold.py splits STUDY OTHER [--splits 60]
       python benchmarks/threshold.py choice STUDY OTHER [--splits 60]
       OMP_NUM_THREADS=1 python benchmarks/threshold.py large [--images 4000] [--gallery 100000]

`guarantee`: simulated vectors, twenty galleries; the fraction of new queries with a false match, in the mean over
calibrations, and the fraction of calibrations that have more than asked. `flags`: the fraction of flagged queries
without a match, and what is found, in batches of 1,000. `splits`: the union of two studies of the same encoder and
changes, split at random; then calibrated on one and judged on the other, and calibrated with queries as they are and
asked with collages. `choice`: how much the chosen score finds less than the better one. `large`: CPU seconds.
"""

import argparse
import resource
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import embedshift
from bench import COMMAND, print_head, print_machine, print_row, timed
from embedshift.arrays import Floats, Values
from embedshift.questions.threshold.numbers import (
    best_scores,
    chosen_score,
    flagged,
    is_match,
    needed,
    own_scores,
    p_values,
    score_name,
    scores_of,
    threshold,
)
from embedshift.statistics.intervals import clopper_pearson
from embedshift.statistics.retrieval import Gallery
from embedshift.statistics.vectors import normalised_float32

SIZES, RATES = (67, 133, 400, 2_000), (0.05, 0.02)
GALLERIES, BANK, SEARCHED, DIM = 20, 12_000, 200, 16
CLEAN = "calibrated with originals, asked with "
KINDS = ("vectors", "groups", "binary codes", "hashes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("guarantee", "flags", "splits", "choice", "large"))
    parser.add_argument("studies", nargs="*", type=Path)
    parser.add_argument("--repetitions", type=int, default=2_000)
    parser.add_argument("--splits", type=int, default=60)
    parser.add_argument("--images", type=int, default=4_000)
    parser.add_argument("--gallery", type=int, default=100_000)
    options = parser.parse_args()
    if options.part in ("splits", "choice"):
        run = splits if options.part == "splits" else choice
        first, second = map(vectors_of, options.studies)
        run(first, second, options.splits)
    elif options.part == "large":
        large(options.images, options.gallery)
    else:
        {"guarantee": guarantee, "flags": flags}[options.part](options.repetitions)
    print_machine()


def best_of(queries: Floats, gallery: Floats) -> Values:
    """The best cosine of each query."""
    own, plain = np.full(len(queries), -1), scores_of(gallery.shape[1], gallery[:0])
    return np.asarray(best_scores(queries, own, Gallery.of(gallery, np.arange(len(gallery))), plain)[0])


def simulated(rng: np.random.Generator, count: int, dim: int) -> Floats:
    """Vectors around twelve centres of other sizes, so that a few queries have most of the high scores."""
    centres = np.random.default_rng(0).normal(size=(12, dim))
    kind = rng.choice(12, count, p=np.linspace(1, 12, 12) / 78)
    return (centres[kind] + rng.normal(size=(count, dim)) * (0.3 + 0.1 * kind)[:, None]).astype(np.float32)


def bank(kind: str, seed: int) -> Values:
    """Best scores of a population of queries without a match in one gallery, `[n, k]` for n groups of k images."""
    rng = np.random.default_rng(seed)
    dim, several = {"hashes": 64, "binary codes": 32}.get(kind, DIM), 4 if kind == "groups" else 1
    gallery = simulated(rng, SEARCHED, dim)
    queries = np.repeat(simulated(rng, BANK, dim), several, axis=0)
    queries += 0.1 * rng.normal(size=queries.shape).astype(np.float32)
    if kind in ("binary codes", "hashes"):
        gallery, queries = np.sign(gallery), np.sign(queries)
    return best_of(normalised_float32(queries), normalised_float32(gallery)).reshape(-1, several)


def guarantee(repetitions: int) -> None:
    """How often a new query without a match gets one."""
    print_head("vectors", "asked", "confidence", "queries", "mean rate", "one new query each (95 %)", "rate > asked")
    for kind in KINDS:
        banks = [bank(kind, seed) for seed in range(GALLERIES)]
        for wrong in RATES:
            for confidence in (None, 0.95):
                for size in SIZES:
                    if size >= needed(wrong, confidence):
                        row = rates_of(banks, size, wrong, confidence, repetitions)
                        print_row(kind, f"{wrong:g}", confidence or "-", f"{size:,}", *row)


def rates_of(banks: Sequence[Values], size: int, wrong: float, confidence: float | None, repetitions: int) -> list[str]:
    rates, first = np.zeros(repetitions), np.zeros(repetitions, bool)
    for number in range(repetitions):
        rng, best = np.random.default_rng([size, number]), banks[number % len(banks)]
        drawn, image = rng.integers(len(best), size=size + 1), rng.integers(best.shape[1], size=size + 1)
        limit = threshold(best[drawn[:-1], image[:-1]], wrong, confidence)
        rates[number], first[number] = is_match(best, limit).mean(), is_match(best[drawn[-1], image[-1]], limit)
    low, high = clopper_pearson(first.sum(), repetitions)
    above = rates > wrong
    ends = clopper_pearson(above.sum(), repetitions)
    return [
        f"{rates.mean():.4f} ± {rates.std() / np.sqrt(repetitions):.4f}",
        f"{first.mean():.4f} ({low:.4f} to {high:.4f})",
        f"{above.mean():.3f} ({ends[0]:.3f} to {ends[1]:.3f})",
    ]


def flags(repetitions: int, batch: int = 1_000) -> None:
    """The fraction of flagged queries that have no match, and the fraction of matches that are found."""
    print_head("asked", "1 match in", "queries", "no match of flagged", "found", "another image of flagged")
    banks = [matched(seed) for seed in range(GALLERIES)]
    for wrong in (0.05, 0.1):
        for part in (2, 10, 100):
            for size in SIZES:
                drawn = [
                    flags_of(banks[number % GALLERIES], size, batch, part, wrong, np.random.default_rng([size, number]))
                    for number in range(repetitions)
                ]
                rates = np.array(drawn)
                error = rates[:, 0].std() / np.sqrt(repetitions)
                found, other = rates[:, 1].mean(), rates[:, 2].mean()
                print_row(f"{wrong:g}", part, f"{size:,}", f"{rates[:, 0].mean():.4f} ± {error:.4f}",
                          f"{found:.3f}", f"{other:.4f}")  # fmt: skip


def matched(seed: int) -> tuple[Values, Values, Values]:
    """Best scores of queries without a match; and of queries with one, the original's and the others'."""
    rng = np.random.default_rng(seed)
    gallery = simulated(rng, SEARCHED, 64)
    right = rng.integers(SEARCHED, size=4_000)
    queries = gallery[right] + rng.gamma(2.0, 0.3, (4_000, 1)).astype(np.float32) * simulated(rng, 4_000, 64)
    unit, stored = normalised_float32(queries), normalised_float32(gallery)
    plain = scores_of(64, stored[:0])
    others = best_scores(unit, right, Gallery.of(stored, np.arange(SEARCHED)), plain)[0]
    without = best_of(normalised_float32(simulated(rng, BANK, 64)), stored)
    return without, own_scores(unit, stored[right], plain)[0], others


def flags_of(
    scores: tuple[Values, Values, Values], size: int, batch: int, part: int, wrong: float, rng: np.random.Generator
) -> tuple[float, float, float]:
    without, own, others = scores
    order, chosen = rng.permutation(len(without)), rng.integers(len(own), size=batch // part)
    best = without[order[:size]]
    asked = np.concatenate([np.maximum(own, others)[chosen], without[order[size : size + batch - len(chosen)]]])
    is_flagged = flagged(p_values(asked, best), wrong)
    found = is_flagged[: len(chosen)] & (own > others)[chosen]
    number = max(1, int(is_flagged.sum()))
    elsewhere = is_flagged[: len(chosen)].sum() - found.sum()
    return is_flagged[len(chosen) :].sum() / number, found.mean(), elsewhere / number


def vectors_of(folder: Path) -> tuple[list[str], Floats]:
    """Names of changes, and unit vectors of original and views, `[n, 1 + A, D]`."""
    study = embedshift.load(folder)
    names = study.augmentations
    every = np.concatenate([*study.reader().image_rows.vectors()])
    order = study.reader().image_rows.layout
    places = [order.positions(name)[0] for name in ("original", *names)]
    flat = every[:, places]
    return names, normalised_float32(flat.reshape(-1, flat.shape[-1])).reshape(flat.shape)


class Trial:
    """One split of images: gallery, choosing, background, calibration, and judged queries without a match."""

    def __init__(self, images: Floats, rng: np.random.Generator, judged: Floats | None = None) -> None:
        order, n = rng.permutation(len(images)), len(images)
        sizes = np.cumsum([round(n / 3), n // 8, n // 8, n // 6 if judged is None else 0])
        calibration, choosing, background, fresh, gallery = (images[part] for part in np.split(order, sizes))
        fresh = fresh if judged is None else judged
        self.scores = scores_of(images.shape[-1], background[:, 0])
        searched = Gallery.of(gallery[:, 0], np.arange(len(gallery)))
        self.best, of_choosing, self.fresh = (
            self._best(part, np.full(len(part), -1), searched) for part in (calibration, choosing, fresh)
        )
        self.others = self._best(gallery, np.arange(len(gallery)), searched)
        self.own, own = (self._own(part) for part in (gallery, choosing))
        self.of_choosing = own[:, :, 1:], of_choosing[:, :, 1:]
        self.mixed = rng.integers(1, images.shape[1], size=len(calibration))
        self.asked = rng.integers(1, images.shape[1], size=len(fresh))

    def _best(self, part: Floats, own: np.ndarray, gallery: Gallery) -> Values:
        flat = part.reshape(-1, part.shape[-1])
        return best_scores(flat, np.repeat(own, part.shape[1]), gallery, self.scores).reshape(-1, *part.shape[:2])

    def _own(self, part: Floats) -> Values:
        flat, originals = part.reshape(-1, part.shape[-1]), np.repeat(part[:, 0], part.shape[1], axis=0)
        return own_scores(flat, originals, self.scores).reshape(-1, *part.shape[:2])

    def limit(self, score: int, wrong: float, confidence: float | None = None) -> float:
        return threshold(self.best[score, np.arange(len(self.mixed)), self.mixed], wrong, confidence)

    def found(self, score: int, limit: float) -> float:
        return float(is_match(self.own[score, :, 1:], limit).mean())

    def rows(self, names: Sequence[str], wrong: float) -> Iterator[tuple[str, float, float]]:
        """Yields words, the realised rate of false matches and what is found."""
        score = chosen_score(*self.of_choosing, wrong, seed=0)
        best, fresh = self.best[score], self.fresh[score]
        one = fresh[np.arange(len(fresh)), self.asked]
        for confidence in (None, 0.95):
            if len(best) >= needed(wrong, confidence):
                limit = self.limit(score, wrong, confidence)
                sure = "" if confidence is None else f", confidence {confidence:g}"
                yield f"any change{sure}", is_match(one, limit).mean(), self.found(score, limit)
        each = [threshold(column, wrong) for column in best[:, 1:].T]
        rates = [is_match(column, limit).mean() for column, limit in zip(fresh[:, 1:].T, each, strict=True)]
        yield "each change by its own, mean", float(np.mean(rates)), float("nan")
        at = [is_match(column, max(each)).mean() for column in fresh[:, 1:].T]
        yield "worst, mean over changes", float(np.mean(at)), self.found(score, max(each))
        if "collage" in names:
            place = names.index("collage")
            found = float(is_match(self.own[score, :, 1 + place], each[place]).mean())
            yield "collage by its own", rates[place], found
        clean = threshold(best[:, 0], wrong)
        for place, name in enumerate(names, start=1):
            found = float(is_match(self.own[score, :, place], clean).mean())
            yield CLEAN + name, is_match(fresh[:, place], clean).mean(), found


def splits(first: tuple[list[str], Floats], second: tuple[list[str], Floats], count: int) -> None:
    """Realised rates over splits of the union, and of one folder judged on the other."""
    names, union = first[0], np.concatenate([first[1], second[1]])
    cases: dict[str, list[tuple[Floats, Floats | None]]] = {
        "union": [(union, None)],
        "fitted on one folder, judged on the other": [(first[1], second[1]), (second[1], first[1])],
    }
    print_head("images", "asked", "threshold", "wrong queries (5 to 95 % of splits)", "splits above", "found")
    for words, pairs in cases.items():
        for wrong in RATES:
            rows: dict[str, list[tuple[float, float]]] = {}
            for number in range(count):
                images, judged = pairs[number % len(pairs)]
                for name, rate, found in Trial(images, np.random.default_rng(number), judged).rows(names, wrong):
                    rows.setdefault(name, []).append((rate, found))
            worst = max((name for name in rows if name.startswith(CLEAN)), key=lambda name: np.mean(rows[name], 0)[0])
            shown_rows = [name for name in rows if not name.startswith(CLEAN) or name in (worst, CLEAN + "collage")]
            for name in shown_rows:
                rates, found = np.array(rows[name]).T
                low, high = np.quantile(rates, (0.05, 0.95))
                shown = "-" if np.isnan(found).all() else f"{found.mean():.3f}"
                print_row(words, f"{wrong:g}", name, f"{rates.mean():.4f} ({low:.3f} to {high:.3f})",
                          f"{(rates > wrong).mean():.2f}", shown)  # fmt: skip


def choice(first: tuple[list[str], Floats], second: tuple[list[str], Floats], count: int) -> None:
    """How much the chosen score finds less than the better of the two."""
    union = np.concatenate([first[1], second[1]])
    print_head("asked", *("found by " + name for name in ("cosine", "normalised", "the choice")),
               "regret, points: mean", "most", "chosen: normalised")  # fmt: skip
    for wrong in RATES:
        rows = []
        for number in range(count):
            trial = Trial(union, np.random.default_rng(number))
            assert [score_name(score) for score in trial.scores] == ["cosine", "normalised"]
            found = [trial.found(score, trial.limit(score, wrong)) for score in range(2)]
            chosen = chosen_score(*trial.of_choosing, wrong, seed=0)
            rows.append((*found, found[chosen], max(found) - found[chosen], chosen))
        values = np.array(rows)
        means = [f"{value:.3f}" for value in values[:, :3].mean(axis=0)]
        print_row(f"{wrong:g}", *means, f"{100 * values[:, 3].mean():.2f}", f"{100 * values[:, 3].max():.1f}",
                  f"{values[:, 4].mean():.2f}")  # fmt: skip


def large(images: int, gallery: int, dim: int = 512) -> None:
    """The command as it is called; of its process and no other."""
    rng, spread = np.random.default_rng(0), np.linspace(1.5, 0.3, dim, dtype=np.float32)
    originals = rng.standard_normal((images, dim), np.float32) * spread + np.float32(0.3)
    views = {"noise": originals + 0.3 * rng.standard_normal(originals.shape, np.float32)}
    with tempfile.TemporaryDirectory() as place:
        study = embedshift.from_vectors(originals, views, out=Path(place) / "study")
        np.save(f"{place}/gallery.npy", rng.standard_normal((gallery, dim), np.float32) * spread + np.float32(0.3))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        words = [*COMMAND, "threshold", str(study.folder), "--gallery", f"{place}/gallery.npy"]
        seconds = timed(lambda: print(subprocess.run(words, check=True, capture_output=True, text=True).stdout))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    print_head("images", "gallery", "D", "seconds", "CPU seconds", "peak GiB")
    peak = f"{used.ru_maxrss / 2**20:.2f}"
    print_row(f"{images:,}", f"{gallery:,}", dim, f"{seconds:.0f}", f"{spent:.0f}", peak)


if __name__ == "__main__":
    main()
