"""What explains the distance between a reference and the vectors of another stack."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from embedshift.arrays import Floats
from embedshift.encoders.module import ModuleEncoder
from embedshift.stacks.encodings import Encodings
from embedshift.stacks.recipe import described, words
from embedshift.stacks.search import Search
from embedshift.statistics.vectors import unit

log = logging.getLogger(__name__)

# A rest within this factor of what a precision moves is said to be like it.
LIKE = 3.0


@dataclass(frozen=True)
class Step:
    """An alteration of the reference's steps that brings its vectors nearer to the served ones.

    `alteration` names it in words ("without antialiasing"); `ties` are the alterations that give the same vectors on
    these images. Distances are means of 1 − cosine in float64; `explained` is the fraction of the first distance.
    """

    alteration: str
    distance_before: float
    distance_after: float
    explained: float
    ties: tuple[str, ...] = ()


@dataclass(frozen=True)
class Causes:
    """The named steps; what they leave unexplained (mean of 1 − cosine); the measured floor of rounding; a remark."""

    steps: tuple[Step, ...]
    distance: float
    unexplained: float
    floor: float
    note: str = ""


def find_causes(encoder: ModuleEncoder, files: Sequence[bytes], served: Floats) -> Causes:
    """Names the alterations of an encoder's own steps that explain the vectors `[N, D]` of a stack for files."""
    encodings = Encodings(encoder, files)
    log.info("steps of %s: %s", encoder.name, described(encodings.reference))
    search, floor = Search(encodings, unit(served)), encodings.floor
    first = left = search.distance(search.reference, search.everything)
    steps = []
    for (axis, values), after in search.walk(search.named(search.run())) if first > floor else ():
        best, *ties = (words(axis, value) for value in values)
        steps.append(Step(best, left, after, (left - after) / first, tuple(ties)))
        left = after
    notes = [_note(search, left)] if left > floor else []
    if encodings.is_spent:
        notes.append(f"the search ended after {len(encodings.passes):,} encodings")
    return Causes(tuple(steps), first, left, floor, "; ".join(filter(None, notes)))


def _note(search: Search, unexplained: float) -> str:
    """Says which precisions move the vectors about as far as what is left."""
    like = []
    for value in search.axes["precision"]:
        size = search.apart(search.reference, search.reference.having("precision", value), search.screen)
        if size / LIKE < unexplained < size * LIKE:
            like.append(f"{value} ({size:.1g})")
    return f"what is left is as large as rounding to {' or '.join(like)}" if like else ""
