"""The search for the recipe of served vectors: which alterations may be named, and what they explain."""

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from embedshift.arrays import Floats, Values
from embedshift.encoders.module import ModuleEncoder
from embedshift.stacks.encodings import LARGEST, Encodings, distance
from embedshift.stacks.recipe import (
    COMPRESSED,
    NEAR_QUALITY,
    OF_ALL_FILES,
    OF_NETWORK,
    OF_SOME_FILES,
    Recipe,
    change,
    words,
)
from embedshift.stacks.result import Causes, ParityStep
from embedshift.statistics.vectors import normalised

log = logging.getLogger(__name__)

# An alteration is named if the distance without it is larger by a factor. Values of an axis within the factor TIE of
# the best distance are ties; an alteration that gains less than the factor IDLE is dropped. A distance within the
# factor LIKE of the effect of a precision is said to be like it.
DECISIVE, TIE, IDLE, LIKE = 10.0, 2.0, 1.1, 3.0
# The same for a JPEG, whose error is nearly random, so that no other step gains from it.
DECISIVE_JPEG = 4.0
# Images of the screen, and the candidates that remain after each of them but the last.
SCREENED, CONFIRMED = 3, (8, 4)
# A single alteration is accepted if it gains the factor CLEAR, or GAIN if no precision explains the rest. If none does,
# the nearest ones are combined in pairs: this many, or all with such a precision.
CLEAR, GAIN, PAIRED, PAIRS = 1.5, 1.03, 32, 16

Alteration = tuple[str, list[Any]]  # an axis, and its tied values, the best first
Proposals = Iterator[tuple[list[Recipe], float]]
Propose = Callable[[Recipe, Sequence[int]], Proposals]


class Search:
    def __init__(self, encodings: Encodings, served: Values) -> None:
        self._encodings, self._served = encodings, served
        self._vector, self._key, self.floor = encodings.vector, encodings.key, encodings.floor
        self.reference, self.axes = reference, axes = encodings.reference, encodings.axes
        self.everything, self._reserved = range(len(served)), 0

        # Ordinary images first. The screen shows the most alterations, the control the fewest.
        def inputs(index: int, of: Iterable[str]) -> int:
            return len({self._key(reference.having(axis, value), index) for axis in of for value in axes.get(axis, ())})

        order = {index: (inputs(index, OF_SOME_FILES), -inputs(index, OF_ALL_FILES)) for index in self.everything}
        self.screen = sorted(self.everything, key=lambda index: order[index])[:SCREENED]
        self.control = sorted(self.everything, key=lambda index: (order[index][0], -order[index][1]))[:1]

    def run(self) -> Recipe:
        # Alterations that gain only together are rare if few images show them; an accidental fit is no start.
        self._reserved = self._encodings.left // 2  # for the screen
        start = self._descend(self._pooled(self.reference, self.control), self.control, self._global_proposals)
        self._reserved = 0
        if self.distance(start, self.control) > self.floor(start):
            start = self._pooled(self.reference, self.screen)
        recipe = self._descend(start, self.screen, self._global_proposals)
        return self._without_idle(self._descend(recipe, self.everything, self._local_proposals))

    def _without_idle(self, recipe: Recipe) -> Recipe:
        limit = IDLE * max(self.distance(recipe, self.everything), self.floor(self.reference))
        for axis in recipe.differences(self.reference):
            if self._is_within(simpler := self._reverted(recipe, axis), limit):
                return self._without_idle(simpler)
        return recipe

    def named(self, recipe: Recipe) -> list[Alteration]:
        """Returns the decisive alterations of a recipe, with the ties of each; a precision only at the floor."""
        best, floor = max(self.distance(recipe, self.everything), self.floor(self.reference)), self.floor(recipe)
        axes = [axis for axis in recipe.differences(self.reference) if axis != "precision" or best <= floor]
        factors = {axis: DECISIVE_JPEG if axis in COMPRESSED else DECISIVE for axis in axes}
        axes = [axis for axis in axes if not self._is_within(self._reverted(recipe, axis), factors[axis] * best)]
        names = []
        for axis in axes:
            values = dict.fromkeys([*self.axes[axis], getattr(recipe, axis)])
            ties = [r for value in values if self._is_within(r := recipe.having(axis, value), TIE * best)]
            ties.sort(key=lambda tied: max(self.distance(tied, self.everything), best))  # the usual of equal ones first
            names.append((axis, [getattr(tied, axis) for tied in ties]))
        return names

    def walk(self, alterations: Sequence[Alteration]) -> Iterator[tuple[Alteration, float]]:
        current, left = self.reference, [*alterations]
        while left:
            altered = [(current.having(axis, values[0]), (axis, values)) for axis, values in left]
            current, alteration = min(altered, key=lambda pair: self.distance(pair[0], self.screen))
            left.remove(alteration)
            yield alteration, self.distance(current, self.everything)

    def distance(self, recipe: Recipe, images: Iterable[int]) -> float:
        return float(np.mean([distance(self._vector(recipe, i), self._served[i]) for i in images]))

    def apart(self, recipe: Recipe, other: Recipe, images: Iterable[int]) -> float:
        return float(np.mean([distance(self._vector(recipe, i), self._vector(other, i)) for i in images]))

    def precisions_like(self, left: float, recipe: Recipe, images: Sequence[int]) -> dict[str, float]:
        exact = self._reverted(recipe, "precision")
        sizes = {value: self.apart(exact, exact.having("precision", value), images) for value in self.axes["precision"]}
        return {value: size for value, size in sizes.items() if size / LIKE < left < size * LIKE}

    def _is_within(self, recipe: Recipe, limit: float) -> bool:
        """Returns whether the mean distance is at most a limit; stops at the first images that exceed it."""
        total, budget = 0.0, limit * len(self.everything)
        images = dict.fromkeys((*self.screen, *self.everything))
        return all((total := total + self.distance(recipe, [index])) <= budget for index in images)

    def _descend(self, current: Recipe, images: Sequence[int], propose: Propose) -> Recipe:
        """Applies the best of the proposed alterations until none helps, or rounding is left."""
        left = self.distance(current, images)
        for candidates, factor in propose(current, images) if left > self.floor(current) else ():
            if (spare := self._encodings.left - self._reserved) <= 0:
                break
            best = self._best(candidates[:spare], images)
            if best is not None and self.distance(best, images) < left / factor:
                return self._descend(best, images, propose)
        return current

    def _global_proposals(self, current: Recipe, images: Sequence[int]) -> Proposals:
        axes = [axis for axis in self.axes if axis not in ("pooling", "precision")]
        altered = [current.having(axis, value) for axis in axes for value in self.axes[axis]]
        for axis in COMPRESSED:
            if quality := getattr(current, axis):
                near = range(max(1, quality - NEAR_QUALITY), min(100, quality + NEAR_QUALITY) + 1)
                altered += [current.having(axis, value) for value in near]
        # The first of those with equal inputs.
        distinct = {self._inputs(one, images): one for one in reversed((current, *altered))}
        altered = [one for one in reversed(distinct.values()) if one is not current]
        yield altered, CLEAR
        # The effect of a low precision is random: the rest falls to rounding once nothing else differs, not before.
        precisions = self.precisions_like(self.distance(current, images), current, images)
        rounded = [[one.having("precision", value) for one in (current, *altered)] for value in precisions]
        for candidates in rounded:
            yield candidates, DECISIVE
        yield altered, GAIN
        # Rounding alone matters to some fits.
        fits = [c.having("rounding", v) for c in altered if c.fit != current.fit for v in self.axes.get("rounding", ())]
        yield fits, IDLE
        nearest = sorted(altered, key=lambda candidate: self.distance(self._pooled(candidate, images), images[:1]))
        pairs = [
            one.having(axis, getattr(other, axis))
            for one, other in itertools.combinations(nearest[:PAIRED], 2)
            for axis in other.differences(current)
            if one.differences(current) != [axis]
        ]
        yield sorted(pairs, key=lambda pair: self._predicted(current, pair, images[0]))[:PAIRS], IDLE
        for value in precisions:
            yield [pair.having("precision", value) for pair in pairs], DECISIVE
        for candidates in rounded:
            yield candidates, IDLE

    def _local_proposals(self, current: Recipe, _images: Sequence[int]) -> Proposals:
        """Returns candidates with equal inputs for the screened images: those that touch only other files."""
        axes = [axis for axis in self.axes if axis not in (*OF_NETWORK, "pooling")]
        candidates = [current.having(axis, value) for axis in axes for value in self.axes[axis]]
        inputs = self._inputs(current, self.screen)
        yield [candidate for candidate in candidates if self._inputs(candidate, self.screen) == inputs], IDLE

    def _inputs(self, recipe: Recipe, images: Iterable[int]) -> tuple[Any, ...]:
        return (*(self._key(recipe, i) for i in images), *(getattr(recipe, axis) for axis in OF_NETWORK))

    def _with_poolings(self, recipe: Recipe) -> list[Recipe]:
        return [recipe.having("pooling", value) for value in self.axes.get("pooling", (recipe.pooling,))]

    def _pooled(self, recipe: Recipe, images: Sequence[int]) -> Recipe:
        return min(self._with_poolings(recipe), key=lambda pooled: self.distance(pooled, images[:1]))

    def _best(self, candidates: Iterable[Recipe], images: Sequence[int]) -> Recipe | None:
        """Returns the nearest candidate, with every pooling: all by the first image, the best ones by more images."""
        left = [pooled for candidate in candidates for pooled in self._with_poolings(candidate)]
        if len(images) <= SCREENED:
            for count, kept in enumerate(CONFIRMED[: len(images) - 1], 1):
                left = sorted(left, key=lambda recipe: self.distance(recipe, images[:count]))[:kept]
        return min(left, key=lambda recipe: self.distance(recipe, images), default=None)

    def _predicted(self, current: Recipe, pair: Recipe, image: int) -> float:
        distances = [LARGEST]
        for pooled in self._with_poolings(current):
            single = [pooled.having(axis, getattr(pair, axis)) for axis in pair.differences(current)]
            vectors = [v for recipe in (pooled, *single) if (v := self._vector(recipe, image)) is not None]
            if len(vectors) == 3:
                here, one, other = vectors
                distances.append(distance(one + other - here, self._served[image]))
        return min(distances)

    def _reverted(self, recipe: Recipe, axis: str) -> Recipe:
        return recipe.having(axis, getattr(self.reference, axis))


def find_causes(encoder: ModuleEncoder, files: Sequence[bytes], served: Floats) -> Causes:
    encodings = Encodings(encoder, files)
    search, begun = Search(encodings, normalised(served)), time.perf_counter()
    first = left = search.distance(search.reference, search.everything)
    seconds = (time.perf_counter() - begun) / len(files)
    log.info("at most %d encodings, of %.2g s each; no step is named before it is confirmed", encodings.most, seconds)
    try:
        recipe = search.run()
        named = search.named(recipe)
    except BaseException:
        log.warning("stopped after %d encodings: no step is confirmed yet", len(encodings.passes))
        raise
    found = []
    for (axis, values), after in search.walk(named):
        best, *ties = (words(recipe.having(axis, value), axis) for value in values)
        undone = change(search.reference, axis)
        found.append(ParityStep(best, undone, left, after, (left - after) / first, tuple(ties)))
        left = after
    floor = search.floor(recipe)
    like = search.precisions_like(left, recipe, search.screen) if left > floor else {}
    rounding = " or ".join(f"{value} ({size:.1g})" for value, size in like.items())
    notes = [f"what is left is as large as rounding to {rounding}"] if like else []
    if not encodings.left:
        notes.append(f"the search ended after {len(encodings.passes):,} encodings")
    return Causes(tuple(found), first, left, floor, "; ".join(notes))
