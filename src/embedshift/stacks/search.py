"""The search for the recipe of served vectors, and which of its alterations may be named."""

import functools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from embedshift.arrays import Values
from embedshift.stacks.recipe import OF_ALL_FILES, OF_NETWORK, OF_SOME_FILES, Recipe

# An alteration is named if the distance without it is so many times as large. Values of an axis within the factor TIE
# of the best distance are ties; an alteration that gains less than the factor IDLE is dropped.
DECISIVE, TIE, IDLE = 10.0, 2.0, 1.1
# Images of the screen, and the candidates that stay after each of them but the last.
SCREENED, CONFIRMED = 3, (8, 4)
# The likeliest candidates and pairs that are tried at once; after a gain by CLEAR no others are, one by GAIN counts.
LIKELY, PAIRED, PAIRS, CLEAR, GAIN, ROUNDS = 16, 32, 16, 2.0, 1.03, 16
# What an alteration moves alone, in distances that are left: outside, it cannot help.
FAINT, STRONG = 5e-4, 30.0
# The largest value of 1 − cosine; it stands for vectors of another length.
LARGEST = 2.0

# The unit vector of a recipe for one image; None where its encoder cannot follow the recipe.
Vector = Callable[[Recipe, int], Values | None]
# Equal for two recipes whose network gets the same input of an image.
InputKey = Callable[[Recipe, int], Hashable]
Alteration = tuple[str, list[Any]]  # an axis, and its values that tie, the best first
Proposals = Iterator[tuple[list[Recipe], float]]


class Search:
    """Searches the recipe whose unit vectors are nearest to served ones `[N, D]`; `floor`: the distance of rounding.

    `on_step` gets the recipe and its distance after each step of the search, which goes no further once `is_spent`.
    """

    def __init__(
        self, vector: Vector, key: InputKey, served: Values, reference: Recipe, axes: Mapping[str, Sequence[Any]],
        floor: float, on_step: Callable[[Recipe, float], object] = lambda *_: None,
        is_spent: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self._on_step, self._is_spent = on_step, is_spent
        self._vector, self._key, self._served = vector, key, served
        self.reference, self.axes, self.floor = reference, axes, floor
        self.everything = range(len(served))

        # Images that no peculiarity of a file touches, and of these the ones that show the most alterations.
        def inputs(index: int, of: Iterable[str]) -> int:
            return len({key(reference.having(axis, value), index) for axis in of for value in axes.get(axis, ())})

        order = {index: (inputs(index, OF_SOME_FILES), -inputs(index, OF_ALL_FILES)) for index in self.everything}
        self.screen = sorted(self.everything, key=lambda index: order[index])[:SCREENED]

    def run(self) -> Recipe:
        """Returns the nearest recipe: by the screen, then by all images; without alterations that gain nothing."""
        start = min(self._with_poolings(self.reference), key=lambda recipe: self.distance(recipe, self.screen))
        recipe = self._descend(start, self.screen, functools.partial(self._global_proposals, likely=LIKELY))
        if self.distance(recipe, self.screen) > self.floor:  # a step that was taken at once may have led astray
            patient = self._descend(start, self.screen, self._global_proposals)
            recipe = min(recipe, patient, key=lambda candidate: self.distance(candidate, self.screen))
        recipe = self._descend(recipe, self.everything, self._local_proposals)
        while True:
            limit = IDLE * max(self.distance(recipe, self.everything), self.floor)
            simpler = (self._reverted(recipe, axis) for axis in recipe.differences(self.reference))
            idle = next((candidate for candidate in simpler if self._is_within(candidate, limit)), None)
            if idle is None:
                return recipe
            recipe = idle

    def named(self, recipe: Recipe) -> list[Alteration]:
        """Returns the decisive alterations of a recipe, with the ties of each; a precision only at the floor."""
        best = max(self.distance(recipe, self.everything), self.floor)
        axes = [axis for axis in recipe.differences(self.reference) if axis != "precision" or best <= self.floor]
        axes = [axis for axis in axes if not self._is_within(self._reverted(recipe, axis), DECISIVE * best)]
        names = []
        for axis in axes:
            ties = [r for value in self.axes[axis] if self._is_within(r := recipe.having(axis, value), TIE * best)]
            ties.sort(key=lambda tied: max(self.distance(tied, self.everything), best))  # the usual of equal ones first
            names.append((axis, [getattr(tied, axis) for tied in ties]))
        return names

    def walk(self, alterations: Sequence[Alteration]) -> Iterator[tuple[Alteration, float]]:
        """Adds alterations to the reference, the largest gain first; gives the distance after each."""
        current, left = self.reference, [*alterations]
        while left:
            altered = [(current.having(axis, values[0]), (axis, values)) for axis, values in left]
            current, alteration = min(altered, key=lambda pair: self.distance(pair[0], self.screen))
            left.remove(alteration)
            yield alteration, self.distance(current, self.everything)

    def distance(self, recipe: Recipe, images: Iterable[int]) -> float:
        """The mean distance of a recipe's vectors from the served ones."""
        return float(np.mean([distance(self._vector(recipe, i), self._served[i]) for i in images]))

    def apart(self, recipe: Recipe, other: Recipe, images: Iterable[int]) -> float:
        """The mean distance between the vectors of two recipes."""
        return float(np.mean([distance(self._vector(recipe, i), self._vector(other, i)) for i in images]))

    def _is_within(self, recipe: Recipe, limit: float) -> bool:
        """Whether the mean distance is at most a limit; it stops at the first images that exceed it."""
        total, budget = 0.0, limit * len(self.everything)
        images = dict.fromkeys((*self.screen, *self.everything))
        return all((total := total + self.distance(recipe, [index])) <= budget for index in images)

    def _descend(self, current: Recipe, images: Sequence[int], propose: Callable[[Recipe], Proposals]) -> Recipe:
        """Takes the best of the proposed alterations until none helps, or rounding is left."""
        distance = self.distance(current, images)
        for _ in range(ROUNDS):
            for candidates, factor in propose(current) if distance > self.floor and not self._is_spent() else ():
                best = self._best(candidates, images)
                if best is not None and (after := self.distance(best, images)) < distance / factor:
                    current, distance = best, after
                    self._on_step(current, distance)
                    break
                if self._is_spent():
                    return current
            else:
                break
        return current

    def _global_proposals(self, current: Recipe, likely: int = 0) -> Proposals:
        """Lists of candidates, first the `likely` ones, and the factor that the best of them must gain to be taken."""
        here = min(self.distance(pooled, self.screen[:1]) for pooled in self._with_poolings(current))
        altered = [current.having(axis, value) for axis in self.axes if axis != "pooling" for value in self.axes[axis]]
        # One that is made alone cannot help where it moves much more, or much less, than what is left.
        candidates = [c for c in altered if FAINT * here < self._effect(current, c) < STRONG * here]
        candidates.sort(key=lambda candidate: self._predicted(current, candidate))
        yield candidates[:likely], CLEAR
        yield candidates, GAIN
        # Rounding matters to some fits alone, so what it moves in the reference does not tell.
        fits = [c.having("rounding", v) for c in altered if c.fit != current.fit for v in self.axes.get("rounding", ())]
        yield [*(candidate for candidate in altered if candidate not in candidates), *fits], IDLE
        # The rounding of a low precision hides what else is left.
        for precision in self.axes.get("precision", ()):
            low = current.having("precision", precision)
            if low != current and self._effect(current, low) < STRONG * here:
                yield [low, *(candidate.having("precision", precision) for candidate in candidates)], IDLE
        pairs = [
            other.having(axis, getattr(one, axis))
            for place, one in enumerate(candidates[:PAIRED])
            for axis in one.differences(current)
            for other in candidates[:place]
            if other.differences(current) != [axis]
        ]
        yield sorted(pairs, key=lambda pair: self._predicted(current, pair))[:PAIRS], IDLE

    def _local_proposals(self, current: Recipe) -> Proposals:
        """The candidates that give the same inputs of the screened images: those that touch only other files."""
        axes = [axis for axis in self.axes if axis not in (*OF_NETWORK, "pooling")]
        candidates = [current.having(axis, value) for axis in axes for value in self.axes[axis]]
        yield [c for c in candidates if all(self._key(c, i) == self._key(current, i) for i in self.screen)], IDLE

    def _with_poolings(self, recipe: Recipe) -> list[Recipe]:
        return [recipe.having("pooling", value) for value in self.axes.get("pooling", (recipe.pooling,))]

    def _best(self, candidates: Iterable[Recipe], images: Sequence[int]) -> Recipe | None:
        """The nearest candidate, with every pooling: all by the first image, the best of them by more images."""
        left = [pooled for candidate in candidates for pooled in self._with_poolings(candidate)]
        if len(images) <= SCREENED:
            for count, kept in enumerate(CONFIRMED[: len(images) - 1], 1):
                left = sorted(left, key=lambda recipe: self.distance(recipe, images[:count]))[:kept]
        return min(left, key=lambda recipe: self.distance(recipe, images), default=None)

    def _effect(self, current: Recipe, candidate: Recipe) -> float:
        shift = self._shift(current, candidate)
        return 0.0 if shift is None else float((shift**2).sum() / 2)

    def _predicted(self, current: Recipe, candidate: Recipe) -> float:
        """The distance that a candidate would have on the first image if alterations added up."""
        first, distances = self.screen[0], [LARGEST]
        for pooled in self._with_poolings(current):
            vector, shift = self._vector(pooled, first), self._shift(pooled, candidate)
            if vector is not None and shift is not None:
                distances.append(distance(vector + shift, self._served[first]))
        return min(distances)

    def _shift(self, current: Recipe, candidate: Recipe) -> Values | None:
        """What the axes on which two recipes differ move alone, in the pooling of the first."""
        total, base = np.zeros(1), self.reference.having("pooling", current.pooling)
        for axis in candidate.differences(current):
            if axis != "pooling":
                ends = [self._vector(base.having(axis, getattr(r, axis)), self.screen[0]) for r in (candidate, current)]
                if ends[0] is None or ends[1] is None:
                    return None
                total = total + ends[0] - ends[1]
        return total

    def _reverted(self, recipe: Recipe, axis: str) -> Recipe:
        return recipe.having(axis, getattr(self.reference, axis))


def distance(vector: Values | None, other: Values | None) -> float:
    """Half the squared difference of unit vectors, which is 1 − cosine without its loss of digits."""
    if vector is None or other is None or vector.shape != other.shape:
        return LARGEST
    return float(((vector - other) ** 2).sum() / 2)
