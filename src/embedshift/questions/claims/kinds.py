"""Claims and verdicts on them: about means and spreads, numbers of augmentations, their order, and the ward tree."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations.paper import PAPER
from embedshift.questions.claims.evidence import (
    DISTANCES,
    NAMES,
    TREES,
    Bootstrap,
    Contrast,
    Contrasts,
    Flags,
    Trees,
    between,
    difference,
    fraction,
)
from embedshift.registry import METRICS
from embedshift.statistics.baselines import Baseline, Pairs
from embedshift.statistics.intervals import CONFIDENCE, LEAST_IMAGES, holm
from embedshift.statistics.sample import Estimates, estimates_from_values
from embedshift.statistics.summary import COSINE

HOLDS, DOES_NOT_HOLD, UNDECIDED, NOT_TESTABLE = "holds", "does not hold", "undecided", "not testable"
# A verdict's adjusted p is at most this.
SIGNIFICANCE = 0.05

SCHEMA = pl.Schema(
    {"claim": str, "statement": str, "estimate": float, "ci_low": float, "ci_high": float}
    | {"verdict": str, "p_value": float, "p_adjusted": float, "requires": str}
)


@dataclass(frozen=True)
class Finding:
    estimate: float
    low: float = np.nan
    high: float = np.nan
    p: tuple[float, float] | None = None
    shown: tuple[bool, bool] = (True, True)


@dataclass(frozen=True)
class Claim:
    name: str
    statement: str
    test: "Test"
    optional: str = ""


def judge(claims: Sequence[Claim], bootstrap: Bootstrap) -> pl.DataFrame:
    """Returns one row per claim; p values are adjusted over both directions of all tested claims."""
    findings = [claim.test.find(bootstrap) for claim in claims]
    p = {index: finding.p for index, finding in enumerate(findings) if finding is not None and finding.p is not None}
    adjusted = dict(zip(p, holm(list(p.values())).reshape(-1, 2).tolist(), strict=True))
    rows: list[dict[str, object]] = []
    for index, (claim, finding) in enumerate(zip(claims, findings, strict=True)):
        row: dict[str, object] = {"claim": claim.name, "statement": claim.statement, "requires": claim.test.requires}
        if finding is None:
            row["verdict"] = NOT_TESTABLE
            if claim.optional and not bootstrap.evidence.measures(claim.optional):
                row["requires"] = f"Not measured: run with `metrics` {claim.optional}. {claim.test.requires}"
        else:
            row |= {"estimate": finding.estimate, "ci_low": finding.low, "ci_high": finding.high, "verdict": UNDECIDED}
        if finding is not None and index in p:
            row |= {"p_value": min(p[index]), "p_adjusted": min(adjusted[index])}
            candidates = zip((HOLDS, DOES_NOT_HOLD), adjusted[index], finding.shown, strict=True)
            decided = (verdict for verdict, p_adjusted, shown in candidates if p_adjusted <= SIGNIFICANCE and shown)
            row["verdict"] = next(decided, UNDECIDED)
        rows.append(row)
    return pl.DataFrame(rows, schema=SCHEMA).with_columns(pl.col(pl.Float64).fill_nan(None))


Names = Sequence[str]
_OF_GROUPS = "Holds if the difference of the two group means is above 0. Does not hold if it is below 0."


@dataclass(frozen=True)
class AllAbove:
    """A claim that holds if all contrasts are above 0, and does not hold if one is below 0."""

    contrasts: tuple[Contrast, ...]
    requires: str
    # Each resample's deviations count in both directions, which removes their skew.
    mirrored: bool = False

    def find(self, bootstrap: Bootstrap) -> Finding | None:
        contrasts = bootstrap.testable(self.contrasts)
        if contrasts is None:
            return None
        if bootstrap.having(self.contrasts) < LEAST_IMAGES:
            return Finding(float(contrasts.estimate.min()))
        if self.mirrored:
            contrasts = dataclasses.replace(contrasts, drawn=np.hstack([contrasts.drawn, -contrasts.drawn]))
        return Finding(*contrasts.smallest(), p=(contrasts.all_above(), contrasts.one_below()))


def order(metric: str, *groups: Names) -> AllAbove:
    contrasts = tuple(
        difference(metric, higher, lower, _sign(metric))
        for above, below in itertools.pairwise(groups)
        for higher in above
        for lower in below
    )
    words = f"Holds if all {len(contrasts)} paired differences are above 0. Does not hold if at least one is below 0."
    return AllAbove(contrasts, words)


def more(metric: str, higher: Names, lower: Names, *, spread: bool = False) -> AllAbove:
    """Tests the mean of one group minus that of the other: of changes as in `order`, or of their `spread`."""
    key = ("sd", metric) if spread else (metric,)
    above, below = ([(*key, name) for name in names] for names in (higher, lower))
    return AllAbove((between(above, below, 1.0 if spread else _sign(metric)),), _OF_GROUPS, mirrored=spread)


def _sign(metric: str) -> float:
    """Returns the sign that turns a mean into a change: -1 if a higher value means less change."""
    return -1.0 if metric in METRICS and METRICS[metric].higher_is_better else 1.0


def entropy_rise(name: str) -> AllAbove:
    requires = "Holds if the mean difference is above 0. Does not hold if it is below 0."
    return AllAbove((((1.0, ("entropy_rise", name)),),), requires)


# More than half of the nine; and the paper's group of the least changed.
MOST, LEAST_CHANGED = len(NAMES) // 2 + 1, 3


@dataclass(frozen=True)
class MostAltered:
    """Tests whether at least five of the nine relative shifts of the cosine are above a threshold, `level`."""

    level: float
    # Shifts and baseline are resampled together, and not with the others.
    contrasts: tuple[Contrast, ...] = ()
    requires = f"Holds if at least {MOST} are. Does not hold if fewer are."

    def find(self, bootstrap: Bootstrap) -> Finding | None:
        evidence, keys = bootstrap.evidence, [(COSINE, name) for name in NAMES]
        having, baseline = evidence.having(keys), evidence.baseline
        if not having or baseline is None:
            return None
        cosines = evidence.sample.columns([evidence.columns[key] for key in keys])
        if baseline.pairs is None:
            contrasts = self._apart(bootstrap, cosines, baseline)
        else:
            contrasts = bootstrap.drawn(self._together(cosines, baseline.pairs))
        number = contrasts.number_above()
        return Finding(number[0]) if having < LEAST_IMAGES else Finding(*number, p=contrasts.at_least_above(MOST))

    def _together(self, cosines: Estimates, pairs: Pairs) -> Estimates:
        """Returns distances minus the threshold's, over what the baseline is resampled by: images, or chunks."""
        assert cosines.chunked is not None
        count, images = len(pairs.images), pairs.images.sum()
        shifts = 1.0 - cosines.mean - count * (cosines.chunked - np.outer(pairs.images, cosines.mean)) / images
        # What an image or chunk adds to the baseline is what leaving it out takes away (jackknife).
        sums, counts = (total.sum() - 2 * total.sum(axis=1) + total.diagonal() for total in (pairs.sums, pairs.counts))
        mean = pairs.sums.sum() / pairs.counts.sum()
        left_out = np.divide(sums, counts, out=np.full(count, mean), where=counts > 0)
        baseline = mean - (count - 1) * (left_out - left_out.mean())
        return estimates_from_values(shifts - self.level * (1.0 - baseline)[:, None])

    def _apart(self, bootstrap: Bootstrap, cosines: Estimates, baseline: Baseline) -> Contrasts:
        shifts, error = bootstrap.drawn(cosines.combine(-np.eye(len(NAMES)))), self.level * baseline.error
        together = np.hypot(shifts.error, error)
        normal = np.random.default_rng([bootstrap.seed, 1]).standard_normal(shifts.drawn.shape[1])
        drawn = (shifts.drawn * shifts.error[:, None] + error * normal) / together[:, None]
        return Contrasts(1.0 + shifts.estimate - self.level * (1.0 - baseline.value), together, drawn)


@dataclass(frozen=True)
class Rank:
    """Tests whether an augmentation is among the three least changed, by the mean of some similarities."""

    name: str
    metrics: Sequence[str]
    requires = (
        f"Holds if fewer than {LEAST_CHANGED} others have a higher mean. Does not hold if {LEAST_CHANGED} or more have."
    )

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """Each other augmentation minus this one: by all metrics, then without attention, which an encoder may lack."""
        others = [name for name in NAMES if name != self.name]
        choices = self.metrics, [metric for metric in self.metrics if metric != "attention_similarity"]
        keys = [[[(metric, name) for metric in metrics] for name in (self.name, *others)] for metrics in choices]
        return tuple(between(other, own) for own, *rest in keys for other in rest)

    def find(self, bootstrap: Bootstrap) -> Finding | None:
        both = self.contrasts[: len(NAMES) - 1], self.contrasts[len(NAMES) - 1 :]
        selected = both[0] if bootstrap.having(both[0]) else both[1]
        contrasts = bootstrap.testable(selected)
        if contrasts is None:
            return None
        number, low, high = contrasts.number_above()
        if bootstrap.having(selected) < LEAST_IMAGES:
            return Finding(1 + number)
        return Finding(1 + number, 1 + low, 1 + high, contrasts.at_least_above(LEAST_CHANGED)[::-1])


PERMUTATIONS = 10_000
# Means, and correlations, that agree to this number of figures are equal.
_FIGURES = 12


def ranks(values: Values) -> Values:
    """Returns ranks along the last axis, from 1; means that differ only by rounding share their mean rank."""
    scale = np.abs(values).max(axis=-1, keepdims=True)
    rounded = np.round(values / np.where(scale > 0, scale, 1.0), _FIGURES)
    # By comparisons of the few values of a row, since the import of scipy.stats takes longer than all claims.
    rows, columns = rounded[..., :, None], rounded[..., None, :]
    mean_ranks = (columns < rows).sum(axis=-1) + ((columns == rows).sum(axis=-1) + 1) / 2
    return np.where(np.isnan(rounded).any(axis=-1, keepdims=True), np.nan, mean_ranks)


@dataclass(frozen=True)
class RankTest:
    """A test of the ranks of augmentations by two metrics, each of which must differ between two of them."""

    first: str
    second: str

    @property
    def pairs(self) -> tuple[tuple[Contrast, ...], ...]:
        pairs = list(itertools.combinations(PAPER, 2))
        return tuple(tuple(difference(metric, *pair) for pair in pairs) for metric in (self.first, self.second))

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        return tuple(itertools.chain.from_iterable(self.pairs))

    def keys(self, names: Names) -> tuple[list[tuple[str, str]], ...]:
        return tuple([(metric, name) for name in names] for metric in (self.first, self.second))

    def find(self, bootstrap: Bootstrap) -> Finding | None:
        by_metric = [contrasts for pairs in self.pairs if (contrasts := bootstrap.testable(pairs)) is not None]
        if len(by_metric) < len(self.pairs):
            return None
        if bootstrap.having(self.contrasts) < LEAST_IMAGES:
            return dataclasses.replace(self.rank_finding(bootstrap), p=None)
        # Each metric settles a pair, by the differences of means, simultaneous over its pairs.
        if any(contrasts.one_differs() > 1 - CONFIDENCE + 1e-9 for contrasts in by_metric):
            return None
        finding = self.rank_finding(bootstrap)
        return finding if np.isfinite(finding.estimate) else None

    def rank_finding(self, bootstrap: Bootstrap) -> Finding:
        raise NotImplementedError


@dataclass(frozen=True)
class Correlation(RankTest):
    """Tests whether two metrics agree over augmentations: Spearman's correlation against permutations."""

    names: Names
    requires = (
        "Holds if the correlation is above that of nearly all random permutations of the augmentations. Does not hold "
        "if it is below. Its unit is the augmentation: more images cannot decide it. Testable only if each metric "
        "differs between two augmentations."
    )

    def rank_finding(self, bootstrap: Bootstrap) -> Finding:
        """Returns the correlation, without an interval: its unit is the augmentation, not the image."""
        first, second = (ranks(bootstrap.evidence.means(keys)) for keys in self.keys(self.names))
        permuted = np.random.default_rng(bootstrap.seed).permuted(np.tile(first, (PERMUTATIONS, 1)), axis=1)
        estimate, by_chance = spearman(first, second).item(), spearman(permuted, second)
        return Finding(estimate, p=(fraction(by_chance >= estimate).item(), fraction(by_chance <= estimate).item()))


def spearman(first: Values, second: Values) -> Values:
    """Returns Pearson's correlation of ranks along the last axis; NaN if all are equal."""
    a, b = (values - values.mean(axis=-1, keepdims=True) for values in (first, second))
    with np.errstate(invalid="ignore"):
        correlation = (a * b).sum(axis=-1) / np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    return np.asarray(np.round(correlation, _FIGURES))


@dataclass(frozen=True)
class Outlier(RankTest):
    """Tests whether one augmentation falls more ranks behind than any other."""

    name: str
    requires = (
        "Holds if it is the exception in nearly all resamples of the images. Does not hold if the same other "
        "augmentation is at least as far below in nearly all of them. Testable only if each metric differs between "
        "two augmentations."
    )

    def rank_finding(self, bootstrap: Bootstrap) -> Finding:
        first, second = self.keys(tuple(PAPER))
        drawn = bootstrap.means([*first, *second], resamples=bootstrap.resamples)
        behind = ranks(drawn[:, len(first) :]) - ranks(drawn[:, : len(first)])
        is_named = np.array([name == self.name for name in PAPER])
        lead = behind[:, is_named] - behind[:, ~is_named]
        exception = np.asarray((lead > 0).all(axis=1))
        # By chance, any of the others leads more often than a given one: Bonferroni.
        overtaken = min(1.0, lead.shape[1] * float(fraction((lead >= 0).T).min()))
        return Finding(float(exception.mean()), p=(fraction(~exception).item(), overtaken))


# Below it a bootstrap tree says little: a resample of so few images has too few different ones.
LEAST_TREE = 20
# The fraction of the trees that a verdict requires.
LEAST_SUPPORT = 0.95


@dataclass(frozen=True)
class TreeTest:
    """A claim that holds if bootstrap trees show all conditions, and does not hold if they lack a single one."""

    words: str
    # Which conditions each tree meets, one per column: `[R, C]`.
    conditions: Callable[[Trees], Flags]
    # "The distances differ": each distance against their mean.
    contrasts: tuple[Contrast, ...] = tuple(between((key,), DISTANCES) for key in DISTANCES)

    @property
    def requires(self) -> str:
        return (
            f"Holds if, in at least 95 % of {TREES:,} bootstrap trees, {self.words}. Does not hold if nearly all trees "
            "violate the same one of these conditions. Both verdicts require that the 36 distances differ."
        )

    def find(self, bootstrap: Bootstrap) -> Finding | None:
        contrasts = bootstrap.testable(self.contrasts)
        if contrasts is None or not bootstrap.evidence.means(DISTANCES).max() > 0:
            return None
        shown = self.conditions(bootstrap.trees)
        fraction = float(shown.all(axis=1).mean())
        if bootstrap.having(self.contrasts) < LEAST_TREE:
            return Finding(fraction)
        p = contrasts.one_differs()
        return Finding(fraction, p=(p, p), shown=(fraction >= LEAST_SUPPORT, lacks_one_condition(shown)))


def lacks_one_condition(shown: Flags) -> bool:
    """Whether trees `[R, C]` lack the same condition: all but 0.05 / C of them, as one may lack it by chance."""
    return bool((~shown).mean(axis=0).max() >= 1 - (1 - LEAST_SUPPORT) / shown.shape[1])


def alone(name: str) -> TreeTest:
    def conditions(trees: Trees) -> Flags:
        joined, position = trees.heights <= trees.cuts[:, None, None], NAMES.index(name)
        others = [index for index in range(len(NAMES)) if index != position]
        first, second = zip(*itertools.combinations(others, 2), strict=True)
        return np.hstack([~joined[:, position, others], joined[:, first, second]])

    words = f"{name} joins no other augmentation below the cut, and all others join each other below it"
    return TreeTest(words, conditions)


def branch(names: Names, without: str) -> TreeTest:
    inside = [NAMES.index(name) for name in names]
    outside = [index for index in range(len(NAMES)) if index not in inside]

    def conditions(trees: Trees) -> Flags:
        # All join before any outsider (one each); one outsider joins below the cut, one does not.
        among = trees.heights[:, inside][:, :, inside]
        complete = np.where(np.isinf(among), 0.0, among).max(axis=(1, 2))
        reached = trees.heights[:, inside][:, :, outside].min(axis=1)
        larger = reached.min(axis=1) <= trees.cuts
        apart = reached[:, outside.index(NAMES.index(without))] > trees.cuts
        return np.column_stack([complete[:, None] < reached, larger, apart])

    words = f"the {len(names)} join each other before any other augmentation joins them, at least one more joins below "
    return TreeTest(f"{words}the cut, and {without} does not", conditions)


# What a claim is tested by: its contrasts, what the verdicts require in words, and `find`, which returns the result on
# these images, or None if they cannot test the claim.
Test = AllAbove | MostAltered | Rank | Correlation | Outlier | TreeTest
