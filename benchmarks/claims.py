"""Right and wrong verdicts on the paper's claims, in simulated worlds whose truth is known.

usage: OMP_NUM_THREADS=1 python benchmarks/claims.py [--repetitions 400] [--images 20 50 200] [--workers 2]

Prints three tables: how often a page has any verdict where nothing is true; how often true claims hold; and how often
a true claim does not hold.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from embedshift.questions.claims.tables import verdicts
from machine import describe_machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from embedshift.questions.claims.evidence import gather
from support.claims_simulated import OF_MEANS, OF_THE_REST, exchangeable, ordered, true_claims, unequal

HOLDS, FAILS = "holds", "does not hold"
# Strengths of what is true, in sd of the paired difference → the repetitions are divided by.
STRENGTHS = {0.1: 1, 0.25: 4, 0.5: 1, 1.0: 4}
# Claims about means, whose truth `unequal` settles: 6a and 6b are true there, trees and ranks are no means.
MEANS = {*OF_MEANS, "5a", "5b", "5c", "5d", "5e", "5f"}
WORLDS = {"exchangeable": exchangeable, "unequal": unequal}
Page = dict[str, str]
# Of a world, so many images each, and the strength of what is true: the verdicts of all repetitions.
Pages = Callable[[str, int, float], list[Page]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--images", type=int, nargs="+", default=[20, 50, 200])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    start = time.perf_counter()
    with ProcessPoolExecutor(options.workers) as pool:

        def pages(world: str, images: int, by: float) -> list[Page]:
            seeds = range(options.repetitions // STRENGTHS.get(by, 1))
            return list(pool.map(partial(page, world, images, by), seeds, chunksize=10))

        print(f"{describe_machine()}\n")
        print_nothing_true(pages, options.images)
        print_something_true(pages, options.images)
    print(f"\n{time.perf_counter() - start:.0f} s for {options.repetitions} repetitions a cell")


def page(world: str, images: int, by: float, seed: int) -> Page:
    """The verdicts on one study of a world, by claim."""
    made = ordered(images, seed, by) if world == "ordered" else WORLDS[world](images, seed)
    table = verdicts(gather([made]), seed=seed)
    return dict(table.select("claim", "verdict").iter_rows())


def print_nothing_true(pages: Pages, sizes: Sequence[int]) -> None:
    print("| images | any verdict: exchangeable | any verdict on means: equal means, unequal spread and skew |")
    print("|---|---|---|")
    for images in sizes:
        alike, spread = pages("exchangeable", images, 0.0), pages("unequal", images, 0.0)
        wrong = [any(given(one, one)) for one in alike], [any(given(one, MEANS)) for one in spread]
        print(f"| {images} | {fraction(wrong[0]):.4f} | {fraction(wrong[1]):.4f} |", flush=True)


def print_something_true(pages: Pages, sizes: Sequence[int]) -> None:
    """Power, and how often a true claim is denied."""
    print("\n| images | true by (sd) | means: least of the claims, mean | " + " | ".join(OF_THE_REST), end="")
    print(" | a true claim does not hold: most of the claims | any on the page |")
    print("|---|---|---|" + "---|" * len(OF_THE_REST) + "---|---|")
    for images in sizes:
        for by in STRENGTHS:
            found = pages("ordered", images, by)
            held = {claim: rate(found, claim, HOLDS) for claim in [*sorted(MEANS), *OF_THE_REST]}
            denied = {claim: rate(found, claim, FAILS) for claim in held}
            worst = max(denied, key=lambda claim: denied[claim])
            some = fraction([FAILS in given(one, true_of(seed)) for seed, one in enumerate(found)])
            means = [held[claim] for claim in MEANS]
            cells = [f"{min(means):.2f}, {sum(means) / len(means):.2f}"]
            cells += [f"{held[claim]:.2f}" for claim in OF_THE_REST]
            cells += [f"{denied[worst]:.4f} ({worst})", f"{some:.4f}"]
            print(f"| {images} | {by} | " + " | ".join(cells) + " |", flush=True)


def true_of(seed: int) -> tuple[str, ...]:
    """All claims that are true in `ordered`."""
    return (*true_claims(seed), *OF_THE_REST)


def given(one: Page, claims: Iterable[str]) -> list[str]:
    """The verdicts "holds" and "does not hold" on some claims."""
    return [one[claim] for claim in claims if one[claim] in (HOLDS, FAILS)]


def rate(found: Sequence[Page], claim: str, verdict: str) -> float:
    """How often a claim has a verdict, among the repetitions in which it is true."""
    return fraction([one[claim] == verdict for seed, one in enumerate(found) if claim in true_of(seed)])


def fraction(of: Sequence[bool]) -> float:
    return sum(of) / len(of)


if __name__ == "__main__":
    main()
