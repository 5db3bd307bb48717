"""What explains the distance between a reference and the vectors of another stack."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from embedshift.arrays import Floats
from embedshift.encoders.module import ModuleEncoder
from embedshift.stacks.encodings import Encodings
from embedshift.stacks.recipe import Recipe, described, words
from embedshift.stacks.search import Search
from embedshift.statistics.vectors import unit

log = logging.getLogger(__name__)


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
    search, begun = Search(encodings, unit(served)), time.perf_counter()
    first = left = search.distance(search.reference, search.everything)
    seconds = (time.perf_counter() - begun) / len(files)
    log.info("about %d encodings of %.2g s at most; when it is stopped, it says the nearest", encodings.most, seconds)
    try:
        recipe = search.run()
        named = search.named(recipe)
    except BaseException:  # a search that is stopped after minutes has something to say
        if search.nearest:
            log.warning("nearest so far, after %s", search.nearest)
        raise
    steps = []
    for (axis, values), after in search.walk(named):
        best, *ties = (words(axis, value) for value in values)
        steps.append(Step(best, left, after, (left - after) / first, tuple(ties)))
        left = after
    floor = search.floor(recipe)
    notes = [_note(search, recipe, left)] if left > floor else []
    if not encodings.left:
        notes.append(f"the search ended after {len(encodings.passes):,} encodings")
    return Causes(tuple(steps), first, left, floor, "; ".join(filter(None, notes)))


def _note(search: Search, recipe: Recipe, unexplained: float) -> str:
    """Says which precisions move the vectors about as far as what is left."""
    like = [
        f"{value} ({size:.1g})" for value, size in search.precisions_like(unexplained, recipe, search.screen).items()
    ]
    return f"what is left is as large as rounding to {' or '.join(like)}" if like else ""
