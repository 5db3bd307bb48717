"""Claims about the ward tree: bootstrap support of the conditions that a tree meets if a claim is right."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedshift.questions.claims.bootstrap import Bootstrap
from embedshift.questions.claims.contrasts import Contrast, between
from embedshift.questions.claims.trees import DISTANCES, NAMES, TREES, Flags, Trees
from embedshift.questions.claims.verdict import Finding

# Below it a bootstrap tree says little: a resample of so few images has too few different ones.
LEAST_TREE = 20
# The fraction of the trees that a verdict requires.
LEAST_SUPPORT = 0.95


class TreeTest:
    """A claim that holds if bootstrap trees show all conditions, and does not hold if they lack a single one."""

    # "The distances differ": each distance against their mean.
    contrasts: tuple[Contrast, ...] = tuple(between((key,), DISTANCES) for key in DISTANCES)

    @property
    def words(self) -> str:
        raise NotImplementedError

    def conditions(self, trees: Trees) -> Flags:
        """Returns for each tree which conditions it meets, one per column: `[R, C]`."""
        raise NotImplementedError

    @property
    def requires(self) -> str:
        return (
            f"Holds if, in at least 95 % of {TREES:,} bootstrap trees, {self.words}. Does not hold if nearly all trees "
            "violate the same one of these conditions. Both verdicts require that the 36 distances differ."
        )

    def find(self, bootstrap: Bootstrap) -> Finding | None:
        having = bootstrap.having(self.contrasts)
        if not having:
            return None
        contrasts = bootstrap.contrasts(self.contrasts)
        if contrasts.all_zero or not bootstrap.evidence.means(DISTANCES).max() > 0:
            return None
        shown = self.conditions(bootstrap.trees)
        fraction = float(shown.all(axis=1).mean())
        if having < LEAST_TREE:
            return Finding(fraction)
        p = contrasts.one_differs()
        return Finding(fraction, p=(p, p), shown=(fraction >= LEAST_SUPPORT, lacks_one_condition(shown)))


def lacks_one_condition(shown: Flags) -> bool:
    """Whether trees `[R, C]` lack the same condition: all but 0.05 / C of them, as one may lack it by chance."""
    return bool((~shown).mean(axis=0).max() >= 1 - (1 - LEAST_SUPPORT) / shown.shape[1])


@dataclass(frozen=True)
class Alone(TreeTest):
    """One augmentation joins none of the others below the cut, and the others all join each other below it."""

    name: str

    @property
    def words(self) -> str:
        return f"{self.name} joins no other augmentation below the cut, and all others join each other below it"

    def conditions(self, trees: Trees) -> Flags:
        joined, alone = trees.joined(), NAMES.index(self.name)
        others = [index for index in range(len(NAMES)) if index != alone]
        first, second = zip(*itertools.combinations(others, 2), strict=True)
        return np.hstack([~joined[:, alone, others], joined[:, first, second]])


@dataclass(frozen=True)
class Branch(TreeTest):
    """Some augmentations form a branch inside a larger cluster, which lacks another augmentation."""

    names: Sequence[str]
    without: str

    @property
    def words(self) -> str:
        return (
            f"the {len(self.names)} join each other before any other augmentation joins them, at least one more joins "
            f"below the cut, and {self.without} does not"
        )

    def conditions(self, trees: Trees) -> Flags:
        """Conditions: all join before any outsider (one each); one outsider joins below the cut, one does not."""
        inside = [NAMES.index(name) for name in self.names]
        outside = [index for index in range(len(NAMES)) if index not in inside]
        among = trees.heights[:, inside][:, :, inside]
        complete = np.where(np.isinf(among), 0.0, among).max(axis=(1, 2))
        reached = trees.heights[:, inside][:, :, outside].min(axis=1)
        larger = reached.min(axis=1) <= trees.cuts
        apart = reached[:, outside.index(NAMES.index(self.without))] > trees.cuts
        return np.column_stack([complete[:, None] < reached, larger, apart])
