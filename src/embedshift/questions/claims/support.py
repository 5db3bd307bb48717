"""Claims about the ward tree: bootstrap support of their conditions."""

from dataclasses import dataclass

from embedshift.questions.claims.bootstrap import Bootstrap
from embedshift.questions.claims.contrasts import Contrast, between
from embedshift.questions.claims.trees import DISTANCES, TREES, Conditions, Flags
from embedshift.questions.claims.verdict import Finding

# Below it a bootstrap tree says little: a resample of so few images has too few different ones.
LEAST_TREE = 20
# The fraction of the trees that a verdict requires.
LEAST_SUPPORT = 0.95
# "The distances differ": each distance against their mean.
_DISTANCE_CONTRASTS: tuple[Contrast, ...] = tuple(between((key,), DISTANCES) for key in DISTANCES)


@dataclass(frozen=True)
class TreeTest:
    """A claim that holds if bootstrap trees show all conditions, and does not hold if they lack a single one."""

    conditions: Conditions
    contrasts: tuple[Contrast, ...] = _DISTANCE_CONTRASTS

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
