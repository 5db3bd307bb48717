"""Right and wrong verdicts on the paper's claims, in simulated worlds whose truth is known.

usage: OMP_NUM_THREADS=1 python benchmarks/claims.py [--repetitions 400] [--images 20 50 200] [--workers 2]

How often a page has any verdict where nothing is true ("unequal": equal means, of which alone claims are counted); how
often true claims hold; and how often a true claim does not hold.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from bench import arguments, print_head, print_machine, print_row
from embedshift.questions.claims.evidence import gather
from embedshift.questions.claims.tables import verdicts
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
    options = arguments(__doc__, repetitions=400, images=(20, 50, 200), workers=os.cpu_count() or 1)
    with ProcessPoolExecutor(options.workers) as pool:

        def pages(world: str, images: int, by: float) -> list[Page]:
            seeds = range(max(1, options.repetitions // STRENGTHS.get(by, 1)))
            return list(pool.map(partial(page, world, images, by), seeds, chunksize=10))

        print_nothing_true(pages, options.images)
        print_something_true(pages, options.images)
    print_machine()


def page(world: str, images: int, by: float, seed: int) -> Page:
    """The verdicts on one study of a world, by claim."""
    made = ordered(images, seed, by) if world == "ordered" else WORLDS[world](images, seed)
    return dict(verdicts(gather([made]), seed=seed).select("claim", "verdict").iter_rows())


def print_nothing_true(pages: Pages, sizes: Sequence[int]) -> None:
    print_head("images", "any verdict: exchangeable", "any verdict on means: unequal")
    for images in sizes:
        alike, spread = pages("exchangeable", images, 0.0), pages("unequal", images, 0.0)
        wrong = [any(given(one, one)) for one in alike], [any(given(one, MEANS)) for one in spread]
        print_row(images, *(f"{fraction(each):.4f}" for each in wrong))
    print()


def print_something_true(pages: Pages, sizes: Sequence[int]) -> None:
    """Power, and how often a true claim is denied."""
    denials = ("a true claim does not hold: most of the claims", "any on the page")
    print_head("images", "true by (sd)", "means: least of the claims, mean", *OF_THE_REST, *denials)
    for images in sizes:
        for by in STRENGTHS:
            found = pages("ordered", images, by)
            held, denied = (
                {claim: rate(found, claim, verdict) for claim in [*sorted(MEANS), *OF_THE_REST]}
                for verdict in (HOLDS, FAILS)
            )
            means, worst = [held[claim] for claim in MEANS], max(denied, key=lambda claim: denied[claim])
            some = fraction([FAILS in given(one, true_of(seed)) for seed, one in enumerate(found)])
            print_row(
                images, by, f"{min(means):.2f}, {sum(means) / len(means):.2f}",
                *(f"{held[claim]:.2f}" for claim in OF_THE_REST), f"{denied[worst]:.4f} ({worst})", f"{some:.4f}",
            )  # fmt: skip


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
    return sum(of) / len(of) if of else float("nan")


if __name__ == "__main__":
    main()
