"""Signed statistics of the claims: positive where the claim is right. Each turns evidence into numbers `[1 + R]`.

A quantity that the study does not have makes the result NaN.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from embedshift.arrays import Values
from embedshift.augmentations.paper import PAPER
from embedshift.questions.claims.evidence import Evidence
from embedshift.registry import METRICS

Statistic = Callable[[Evidence], Values]
Names = Sequence[str]


def order(metric: str, *groups: Names) -> Statistic:
    """The smallest gap of an order of groups: how much more than any of the next group each of a group is changed.

    One augmentation out of order makes it negative. Change is the mean of the metric, its sign turned where a higher
    value means less change, so the unit is the metric's.

    Args:
        metric: A metric of the records.
        *groups: Names, the most changed group first.

    Example:
        >>> evidence = Evidence(9, {("l2_distance", n): np.array([v]) for n, v in (("a", 7.0), ("b", 4.0), ("c", 1.0))})
        >>> order("l2_distance", ["a"], ["b", "c"])(evidence).item()
        3.0
    """

    def statistic(evidence: Evidence) -> Values:
        changes = [_sign(metric) * evidence.get((metric,), group) for group in groups]
        gaps = [more.min(axis=1) - less.max(axis=1) for more, less in itertools.pairwise(changes)]
        return np.asarray(np.min(gaps, axis=0))

    return statistic


def _sign(metric: str) -> float:
    """What turns a mean into a change: -1 where a higher value means less of it."""
    return -1.0 if metric in METRICS and METRICS[metric].higher_is_better else 1.0


def more_spread(metric: str, more: Names, less: Names) -> Statistic:
    """Mean over one group of the metric's standard deviation, minus the mean over the other."""
    return lambda evidence: (
        evidence.get(("sd", metric), more).mean(axis=1) - evidence.get(("sd", metric), less).mean(axis=1)
    )


def more_changed(metric: str, more: Names, less: Names) -> Statistic:
    """Mean change of one group minus that of the other; change and unit as in `order`."""
    return lambda evidence: (
        _sign(metric) * (evidence.get((metric,), more).mean(axis=1) - evidence.get((metric,), less).mean(axis=1))
    )


def correlation(first: str, second: str, names: Names) -> Statistic:
    """Spearman's rank correlation of two metrics' means over augmentations; NaN where all of a metric are equal.

    Example:
        >>> evidence = Evidence(9, {(m, n): np.array([v]) for m in ("x", "y") for n, v in (("a", 1.0), ("b", 2.0))})
        >>> round(correlation("x", "y", ["a", "b"])(evidence).item(), 6)
        1.0
    """

    def statistic(evidence: Evidence) -> Values:
        a, b = (_centred(rankdata(evidence.get((metric,), names), axis=1)) for metric in (first, second))
        with np.errstate(invalid="ignore"):
            return np.asarray((a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1)))

    return statistic


def _centred(ranks: Values) -> Values:
    return np.asarray(ranks - ranks.mean(axis=1, keepdims=True))


def exception(name: str, metric: str, than: str, names: Names) -> Statistic:
    """How many ranks more than any other augmentation `name` falls behind in `metric`, given its rank in `than`.

    Falling behind = rank by the mean of `than` minus rank by the mean of `metric`, both from the lowest.
    """

    def statistic(evidence: Evidence) -> Values:
        behind = rankdata(evidence.get((than,), names), axis=1) - rankdata(evidence.get((metric,), names), axis=1)
        here = np.array([other == name for other in names])
        return np.asarray(behind[:, here][:, 0] - behind[:, ~here].max(axis=1))

    return statistic


def entropy_rise(name: str) -> Statistic:
    """Mean over images of the entropy of the view's attention map minus that of its original's, in nats."""
    return lambda evidence: evidence.get(("entropy_rise",), [name])[:, 0]


def alone(name: str) -> Statistic:
    """1 where `name` is a cluster of its own: it joins every other augmentation above the cut; else 0."""

    def statistic(evidence: Evidence) -> Values:
        heights, cuts = evidence.trees
        return _where(cuts, heights[:, list(PAPER).index(name)].min(axis=1) > cuts)

    return statistic


def sub_cluster(names: Names, without: str) -> Statistic:
    """1 where the tree has a branch of just `names` within a larger cluster that does not hold `without`; else 0."""

    def statistic(evidence: Evidence) -> Values:
        heights, cuts = evidence.trees
        inside = np.array([name in names for name in PAPER])
        among = heights[:, inside][:, :, inside]
        joined = np.where(np.isinf(among), 0.0, among).max(axis=(1, 2))
        left = heights[:, inside][:, :, ~inside].min(axis=(1, 2))
        far = heights[:, inside, list(PAPER).index(without)].min(axis=1)
        return _where(cuts, (joined < left) & (left <= cuts) & (cuts < far))

    return statistic


def _where(cuts: Values, found: NDArray[np.bool_]) -> Values:
    return np.where(np.isnan(cuts), np.nan, found.astype(np.float64))
