"""Claims about the ward tree: bootstrap support of their conditions."""

from dataclasses import dataclass

from embedshift.questions.claims.bootstrap import Bootstrap
from embedshift.questions.claims.contrasts import Contrast, between
from embedshift.questions.claims.trees import DISTANCES, TREES, Conditions, Holding
from embedshift.questions.claims.verdict import Finding

# Below it a bootstrap tree says little: a resample of so few images has too few different ones.
LEAST_TREE = 20
# Fraction of the trees that a verdict asks for.
MOST = 0.95
# "The distances differ": each against their mean.
_APART: tuple[Contrast, ...] = tuple(between((key,), DISTANCES) for key in DISTANCES)


@dataclass(frozen=True)
class OfTrees:
    """A claim that holds if bootstrap trees show all conditions, and does not hold if they lack a single one."""

    conditions: Conditions
    contrasts: tuple[Contrast, ...] = _APART

    @property
    def requires(self) -> str:
        """What the two verdicts require, in words."""
        return (
            f"Holds if, in at least 95 % of {TREES:,} bootstrap trees, {self.conditions.words}. Does not hold if "
            "nearly all trees violate the same one of these conditions. Both verdicts require that the 36 distances "
            "differ."
        )

    def find(self, bootstrap: Bootstrap) -> Finding | None:
        """Returns the proportion of the trees that show the claim, without an interval."""
        having = bootstrap.having(self.contrasts)
        if not having:
            return None
        apart = bootstrap.contrasts(self.contrasts)
        if apart.still or not bootstrap.evidence.means(DISTANCES).max() > 0:
            return None
        shown = self.conditions(bootstrap.trees)
        fraction = float(shown.all(axis=1).mean())
        if having < LEAST_TREE:
            return Finding(fraction)
        p = apart.one_differs()
        return Finding(fraction, p=(p, p), shown=(fraction >= MOST, lacking(shown)))


def lacking(shown: Holding) -> bool:
    """Whether trees `[R, C]` lack the same condition: all but 0.05 / C of them, as one may lack it by chance."""
    return bool((~shown).mean(axis=0).max() >= 1 - (1 - MOST) / shown.shape[1])
