"""Claims about the order of the augmentations by two metrics."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedshift.arrays import Values
from embedshift.augmentations.paper import PAPER
from embedshift.questions.claims.bootstrap import Bootstrap
from embedshift.questions.claims.contrasts import Contrast, difference, fraction
from embedshift.questions.claims.verdict import Finding
from embedshift.statistics.intervals import LEAST_IMAGES, LEVEL

Names = Sequence[str]

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
        """Returns the result on these images; without p if there are too few."""
        having = bootstrap.having(self.contrasts)
        by_metric = [bootstrap.contrasts(pairs) for pairs in self.pairs] if having else []
        if not having or any(contrasts.all_zero for contrasts in by_metric):
            return None
        if having < LEAST_IMAGES:
            return dataclasses.replace(self.rank_finding(bootstrap), p=None)
        # Each metric settles a pair, by the differences of means, simultaneous over its pairs.
        differ = all(contrasts.one_differs() <= 1 - LEVEL + 1e-9 for contrasts in by_metric)
        finding = self.rank_finding(bootstrap) if differ else None
        return finding if finding is not None and np.isfinite(finding.estimate) else None

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
