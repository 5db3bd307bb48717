"""The search for the recipe of served vectors, and which of its alterations may be named."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedshift.arrays import Values
from embedshift.parity.recipe import OF_ALL_FILES, OF_NETWORK, OF_SOME_FILES, Recipe

# An alteration is named if the distance without it is so many times as large.
DECISIVE = 10.0
# Values of an axis are ties within this factor of the best distance; an alteration that gains less is dropped.
TIE, IDLE = 2.0, 1.1
# Images of the screen, and the candidates that stay after each of them but the last.
SCREENED, CONFIRMED = 3, (8, 4)
ROUNDS = 16
# The likeliest candidates and pairs that are tried at once; a gain to this part needs no other candidate.
LIKELY, PAIRS, CLEAR = 10, 16, 0.6
# What an alteration moves alone, in distances that are left: outside, it cannot help.
FAINT, STRONG = 5e-4, 30.0
# The largest value of 1 − cosine; it stands for vectors of another length.
LARGEST = 2.0

Vector = Callable[[Recipe, int], Values | None]
Propose = Callable[[Recipe], Iterator[tuple[list[Recipe], float]]]
InputKey = Callable[[Recipe, int], Hashable]


@dataclass(frozen=True)
class Named:
    """An alteration that is named: its axis, its values that tie (the best first)."""

    axis: str
    values: tuple[Any, ...]


class Search:
    """Searches the recipe whose vectors are nearest to served ones.

    Args:
        vector: The unit vector of a recipe for one image; None where its encoder cannot follow the recipe.
        key: Equal for two recipes whose network gets the same input of an image.
        served: The served unit vectors `[N, D]`.
        reference: The recipe of the reference.
        axes: Axis → its values.
        floor: The distance of rounding: half the squared difference of unit vectors, which is 1 − cosine.
    """

    def __init__(
        self,
        vector: Vector,
        key: InputKey,
        served: Values,
        reference: Recipe,
        axes: Mapping[str, Sequence[Any]],
        floor: float,
    ) -> None:
        self._vector, self._key, self._served = vector, key, served
        self.reference, self.axes, self.floor = reference, axes, floor
        self.everything = range(len(served))
        self.screen = self._choose_screen()

    def run(self) -> Recipe:
        """Returns the nearest recipe: first by a few images that no file's peculiarity touches, then by all."""
        start = min(self._with_poolings(self.reference), key=lambda recipe: self.distance(recipe, self.screen))
        current = self._descend(start, self.screen, self._global_proposals)
        current = self._descend(current, self.everything, self._local_proposals)
        return self._without_idle(current)

    def named(self, recipe: Recipe) -> list[Named]:
        """Returns which alterations of a recipe are decisive, with the ties of each."""
        best = max(self.distance(recipe, self.everything), self.floor)
        names = []
        for axis in recipe.differences(self.reference):
            is_idle = self._is_within(self._reverted(recipe, axis), DECISIVE * best)
            if is_idle or (axis == "precision" and best > self.floor):
                continue
            others = [recipe.having(axis, value) for value in self.axes[axis] if value != getattr(recipe, axis)]
            ties = [other for other in others if self._is_within(other, TIE * best)]
            names.append(Named(axis, tuple(getattr(tied, axis) for tied in (recipe, *ties))))
        return names

    def walk(self, names: Sequence[Named]) -> list[tuple[Named, float]]:
        """Adds named alterations to the reference, the largest gain first; with the distance after each."""
        current, left, path = self.reference, [*names], list[tuple[Named, float]]()
        while left:
            altered = [(current.having(name.axis, name.values[0]), name) for name in left]
            current, name = min(altered, key=lambda pair: self.distance(pair[0], self.screen))
            left.remove(name)
            path.append((name, self.distance(current, self.everything)))
        return path

    def distance(self, recipe: Recipe, images: Iterable[int]) -> float:
        """The mean distance of a recipe's vectors from the served ones."""
        return float(np.mean([self._distance(recipe, index) for index in images]))

    def apart(self, recipe: Recipe, other: Recipe, images: Iterable[int]) -> float:
        """The mean distance between the vectors of two recipes."""
        pairs = [(self._vector(recipe, index), self._vector(other, index)) for index in images]
        return float(np.mean([LARGEST if a is None or b is None else ((a - b) ** 2).sum() / 2 for a, b in pairs]))

    def _distance(self, recipe: Recipe, index: int) -> float:
        return self._to_served(self._vector(recipe, index), index)

    def _to_served(self, vector: Values | None, index: int) -> float:
        served = self._served[index]
        if vector is None or vector.shape != served.shape:
            return LARGEST
        return float(((vector - served) ** 2).sum() / 2)

    def _is_within(self, recipe: Recipe, limit: float) -> bool:
        """Whether the mean distance is at most a limit; it stops at the first images that exceed it."""
        total = 0.0
        for index in dict.fromkeys((*self.screen, *self.everything)):
            total += self._distance(recipe, index)
            if total > limit * len(self.everything):
                return False
        return True

    def _choose_screen(self) -> list[int]:
        """The images that show the most alterations, among those that no peculiarity of a file touches."""

        def inputs(index: int, axes: Iterable[str]) -> int:
            recipes = [self.reference.having(axis, value) for axis in axes for value in self.axes.get(axis, ())]
            return len({self._key(recipe, index) for recipe in (self.reference, *recipes)})

        touched = {index: inputs(index, OF_SOME_FILES) for index in self.everything}
        shown = {index: inputs(index, OF_ALL_FILES) for index in self.everything}
        return sorted(self.everything, key=lambda index: (touched[index], -shown[index]))[:SCREENED]

    def _descend(self, current: Recipe, images: Sequence[int], propose: Propose) -> Recipe:
        """Takes the best of the proposed alterations until none helps, or rounding is left."""
        distance = self.distance(current, images)
        for _ in range(ROUNDS):
            if distance <= self.floor:
                break
            for candidates, factor in propose(current):
                best = self._best(candidates, images)
                if best is not None and (after := self.distance(best, images)) < distance / factor:
                    current, distance = best, after
                    break
            else:
                break
        return current

    def _global_proposals(self, current: Recipe) -> Iterator[tuple[list[Recipe], float]]:
        """Lists of candidates, the likelier first, and the factor that the best of them must gain to be taken."""
        first = self.screen[0]
        here = min(self._distance(pooled, first) for pooled in self._with_poolings(current))
        candidates = [c for c in self._neighbours(current) if FAINT * here < self._effect(current, c) < STRONG * here]
        candidates.sort(key=lambda candidate: self._predicted(current, candidate))
        yield candidates[:LIKELY], 1 / CLEAR
        yield candidates, IDLE
        pairs = [_merged(current, one, other) for i, one in enumerate(candidates) for other in candidates[:i]]
        pairs = [pair for pair in pairs if len(pair.differences(current)) == 2]
        yield sorted(pairs, key=lambda pair: self._predicted(current, pair))[:PAIRS], IDLE

    def _local_proposals(self, current: Recipe) -> Iterator[tuple[list[Recipe], float]]:
        """The candidates that give the same inputs of the screened images: those that touch only other files."""
        axes = [axis for axis in self.axes if axis not in (*OF_NETWORK, "pooling")]
        candidates = [current.having(axis, value) for axis in axes for value in self.axes[axis]]
        same = [c for c in candidates if all(self._key(c, i) == self._key(current, i) for i in self.screen)]
        yield [candidate for candidate in same if candidate != current], IDLE

    def _neighbours(self, recipe: Recipe) -> list[Recipe]:
        axes = [axis for axis in self.axes if axis != "pooling"]
        altered = [recipe.having(axis, value) for axis in axes for value in self.axes[axis]]
        return [candidate for candidate in altered if candidate != recipe]

    def _with_poolings(self, recipe: Recipe) -> list[Recipe]:
        return [recipe.having("pooling", value) for value in self.axes.get("pooling", (recipe.pooling,))]

    def _best(self, candidates: Iterable[Recipe], images: Sequence[int]) -> Recipe | None:
        """The nearest candidate, with every pooling: all by the first image, the best of them by more images."""
        left = [pooled for candidate in candidates for pooled in self._with_poolings(candidate)]
        if len(images) > SCREENED:
            return min(left, key=lambda recipe: self.distance(recipe, images), default=None)
        for count, kept in enumerate((*CONFIRMED, 1)[-len(images) :], 1):
            left = sorted(left, key=lambda recipe: self.distance(recipe, images[:count]))[:kept]
        return left[0] if left else None

    def _effect(self, current: Recipe, candidate: Recipe) -> float:
        """The size of an alteration where it is made alone."""
        shift = self._shift(current, candidate)
        return LARGEST if shift is None else float((shift**2).sum() / 2)

    def _predicted(self, current: Recipe, candidate: Recipe) -> float:
        """The distance that a candidate would have on the first image if alterations added up."""
        best = LARGEST
        for pooled in self._with_poolings(current):
            vector, shift = self._vector(pooled, self.screen[0]), self._shift(pooled, candidate)
            if vector is not None and shift is not None:
                best = min(best, self._to_served(vector + shift, self.screen[0]))
        return best

    def _shift(self, current: Recipe, candidate: Recipe) -> Values | None:
        """What the axes on which two recipes differ move alone, in the pooling of the first."""
        index, base = self.screen[0], self.reference.having("pooling", current.pooling)
        total: Any = 0.0
        for axis in candidate.differences(current):
            if axis != "pooling":
                after, before = (self._vector(base.having(axis, getattr(r, axis)), index) for r in (candidate, current))
                if after is None or before is None or after.shape != before.shape:
                    return None
                total = total + after - before
        return np.asarray(total)

    def _reverted(self, recipe: Recipe, axis: str) -> Recipe:
        return recipe.having(axis, getattr(self.reference, axis))

    def _without_idle(self, recipe: Recipe) -> Recipe:
        """Drops the alterations that gain next to nothing."""
        limit = IDLE * max(self.distance(recipe, self.everything), self.floor)
        for axis in recipe.differences(self.reference):
            if self._is_within(self._reverted(recipe, axis), limit):
                return self._without_idle(self._reverted(recipe, axis))
        return recipe


def _merged(current: Recipe, one: Recipe, other: Recipe) -> Recipe:
    """Both alterations of a recipe."""
    for axis in one.differences(current):
        other = other.having(axis, getattr(one, axis))
    return other
