"""Claims about means and spreads: paired differences that must all be above 0."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from embedshift.questions.claims.bootstrap import Bootstrap
from embedshift.questions.claims.contrasts import Contrast, between, difference
from embedshift.questions.claims.verdict import Finding
from embedshift.registry import METRICS
from embedshift.statistics.intervals import LEAST_IMAGES

Names = Sequence[str]
_OF_GROUPS = "Holds if the difference of the two group means is above 0. Does not hold if it is below 0."


@dataclass(frozen=True)
class AllAbove:
    """A claim that holds if all contrasts are above 0, and does not hold if one is below 0."""

    contrasts: tuple[Contrast, ...]
    requires: str
    mirrored: bool = False

    def find(self, bootstrap: Bootstrap) -> Finding | None:
        having = bootstrap.having(self.contrasts)
        if not having:
            return None
        contrasts = bootstrap.contrasts(self.contrasts)
        if contrasts.all_zero:
            return None
        if having < LEAST_IMAGES:
            return Finding(float(contrasts.estimate.min()))
        contrasts = contrasts.mirrored() if self.mirrored else contrasts
        return Finding(*contrasts.smallest(), p=(contrasts.all_above(), contrasts.one_below()))


def order(metric: str, *groups: Names) -> AllAbove:
    """Tests that groups are in order, the most changed first: each of a group minus each of the next group."""
    contrasts = tuple(
        difference(metric, higher, lower, _sign(metric))
        for above, below in itertools.pairwise(groups)
        for higher in above
        for lower in below
    )
    words = f"Holds if all {len(contrasts)} paired differences are above 0. Does not hold if at least one is below 0."
    return AllAbove(contrasts, words)


def more_spread(metric: str, higher: Names, lower: Names) -> AllAbove:
    above, below = ([("sd", metric, name) for name in names] for names in (higher, lower))
    return AllAbove((between(above, below),), _OF_GROUPS, mirrored=True)


def more_changed(metric: str, higher: Names, lower: Names) -> AllAbove:
    """Tests the mean change of one group minus that of the other; change is defined as in `order`."""
    above, below = ([(metric, name) for name in names] for names in (higher, lower))
    return AllAbove((between(above, below, _sign(metric)),), _OF_GROUPS)


def entropy_rise(name: str) -> AllAbove:
    requires = "Holds if the mean difference is above 0. Does not hold if it is below 0."
    return AllAbove((((1.0, ("entropy_rise", name)),),), requires)


def _sign(metric: str) -> float:
    """Returns the sign that turns a mean into a change: -1 if a higher value means less change."""
    return -1.0 if metric in METRICS and METRICS[metric].higher_is_better else 1.0
