"""Contrasts of means, ward trees, and the p values of claims about them, all from the same resamples of the images."""

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from embedshift.arrays import Values
from embedshift.augmentations.paper import PAPER
from embedshift.questions.claims.evidence import Evidence, Key, distance
from embedshift.statistics import intervals
from embedshift.statistics.clusters import threshold
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.sample import Estimates

# A linear combination of numbers: their weights and keys.
Contrast = tuple[tuple[float, Key], ...]


@dataclass(frozen=True)
class Contrasts:
    """J contrasts and their R resamples."""

    estimate: Values
    error: Values
    drawn: Values

    @property
    def t(self) -> Values:
        """The contrasts in standard errors, `[J]`; 0 if a contrast is 0 in every image."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.estimate == 0, 0.0, self.estimate / self.error)

    def mirrored(self) -> "Contrasts":
        """Returns the contrasts with each resample's deviations in both directions, which removes their skew."""
        return Contrasts(self.estimate, self.error, np.hstack([self.drawn, -self.drawn]))

    @property
    def all_zero(self) -> bool:
        """Whether all contrasts are 0 in every image."""
        return not (self.estimate.any() or np.nan_to_num(self.error).any())

    def all_above(self) -> float:
        """Returns the p of "not all are above 0": the largest one-sided p of one contrast (intersection-union)."""
        return float(fraction(self.drawn >= self.t[:, None]).max())

    def one_below(self) -> float:
        """Returns the p of "none is below 0": that of the lowest contrast, among all (max-T)."""
        return most_outlying(-self.drawn, -self.t)

    def one_differs(self) -> float:
        """Returns the p of "all are 0", in both directions at once (max-T)."""
        return most_outlying(np.abs(self.drawn), np.abs(self.t))

    def number_above(self) -> tuple[float, float, float]:
        """Returns how many are above 0, and its 95 % interval: what simultaneous intervals show, and leave open."""
        shown = [
            sign * self.t > np.quantile(self._furthest(sign), (1 + intervals.LEVEL) / 2, method="higher")
            for sign in (1, -1)
        ]
        above, below = (int((self._is_bounded & side).sum()) for side in shown)
        return float((self.estimate > 0).sum()), float(above), float(len(self.t) - below)

    def at_least_above(self, least: int) -> tuple[float, float]:
        """Returns the p of "fewer than `least` are above 0" and of "so many are" (partial conjunction, max-T)."""
        sides = ((1, least), (-1, len(self.t) - least + 1))
        last = [np.sort(np.where(self._is_bounded, sign * self.t, -np.inf))[-number] for sign, number in sides]
        above, below = (float(fraction(self._furthest(s) >= t)) for (s, _), t in zip(sides, last, strict=True))
        return above, below

    @functools.cached_property
    def _is_bounded(self) -> NDArray[np.bool_]:
        return intervals.bounded(self.drawn.T)

    def _furthest(self, sign: int) -> Values:
        return np.asarray((sign * self.drawn[self._is_bounded]).max(axis=0, initial=-np.inf))

    def smallest(self) -> tuple[float, float, float]:
        """Returns the smallest contrast and its 95 % interval: the least pointwise lower and simultaneous upper end."""
        tail = (1 - intervals.LEVEL) / 2
        below = np.quantile(self.drawn, 1 - tail, axis=1, method="higher")
        above = np.where(self._is_bounded, np.quantile(self._furthest(-1), 1 - tail, method="higher"), np.inf)
        with np.errstate(invalid="ignore"):
            low = np.where(self.error > 0, self.estimate - below * self.error, self.estimate).min()
            high = np.where(self.error > 0, self.estimate + above * self.error, self.estimate).min()
        ends = (float(low), float(high)) if np.isfinite(low) and np.isfinite(high) else (np.nan, np.nan)
        return float(self.estimate.min()), *ends


def most_outlying(drawn: Values, observed: Values) -> float:
    """Returns the p of the most outlying of the numbers that can be significant (max-T); 1 if none can."""
    is_bounded = intervals.bounded(drawn.T)
    return float(fraction(drawn[is_bounded].max(axis=0) >= observed[is_bounded].max())) if is_bounded.any() else 1.0


def fraction(exceeding: NDArray[np.bool_]) -> Values:
    """Returns a p value by resamples: (1 + those that exceed) / (1 + all), over the last axis."""
    return np.asarray((1 + exceeding.sum(axis=-1)) / (1 + exceeding.shape[-1]))


def difference(metric: str, higher: str, lower: str, sign: float = 1.0) -> Contrast:
    return between(((metric, higher),), ((metric, lower),), sign)


def between(higher: Sequence[Key], lower: Sequence[Key], sign: float = 1.0) -> Contrast:
    return (*((sign / len(higher), key) for key in higher), *((-sign / len(lower), key) for key in lower))


Flags = NDArray[np.bool_]

NAMES = tuple(PAPER)
TREES = 1_000
DISTANCES = tuple(distance(*pair) for pair in itertools.combinations(NAMES, 2))


@dataclass(frozen=True)
class Trees:
    """Trees of the nine augmentations, in the paper's order."""

    heights: Values
    cuts: Values

    def joined(self) -> Flags:
        """Which augmentations join at or below the cut, `[R, 9, 9]`; none joins itself."""
        return np.asarray(self.heights <= self.cuts[:, None, None])


def grow(distances: Values) -> Trees:
    """Makes trees from mean distances `[R, 36]`."""
    linkages = np.stack([scipy.cluster.hierarchy.linkage(row, method="ward") for row in distances])
    return Trees(_joining_heights(linkages), np.array([threshold(linkage) for linkage in linkages]))


def _joining_heights(trees: Values) -> Values:
    """Converts linkage matrices `[R, A - 1, 4]` to heights at which two leaves join, `[R, A, A]`, diagonal infinite."""
    count, leaves = len(trees), trees.shape[1] + 1
    heights = np.where(np.eye(leaves, dtype=bool), np.inf, np.zeros((count, 1, 1)))
    inside = np.zeros((count, 2 * leaves - 1, leaves), bool)  # the leaves of every cluster
    inside[:, :leaves] = np.eye(leaves, dtype=bool)
    for step in range(leaves - 1):
        left, right = (inside[np.arange(count), trees[:, step, side].astype(int)] for side in (0, 1))
        joined = left[:, :, None] & right[:, None, :]
        heights += (joined | joined.swapaxes(1, 2)) * trees[:, step, 2, None, None]
        inside[:, leaves + step] = left | right
    return heights


# A contrast below this multiple of its numbers is rounding.
_ROUNDING = 1e-12


class Bootstrap:
    """The evidence and its resamples, drawn once for all contrasts."""

    def __init__(self, evidence: Evidence, contrasts: Iterable[Contrast], *, seed: int, resamples: int) -> None:
        self.evidence, self.seed, self.resamples = evidence, seed, resamples
        testable = [contrast for contrast in dict.fromkeys(contrasts) if evidence.having(key for _, key in contrast)]
        self._columns = {contrast: column for column, contrast in enumerate(testable)}

    def having(self, contrasts: Iterable[Contrast]) -> int:
        """Returns how many images have a value of every number in the contrasts; 0 if the study lacks one."""
        return self.evidence.having(key for contrast in contrasts for _, key in contrast)

    def contrasts(self, selected: Sequence[Contrast]) -> Contrasts:
        """Returns some of the contrasts; the study must have their numbers."""
        columns, contrasts = [self._columns[contrast] for contrast in selected], self._all
        return Contrasts(contrasts.estimate[columns], contrasts.error[columns], contrasts.drawn[columns])

    def means(self, keys: Sequence[Key], *, resamples: int) -> Values:
        """Returns means of resamples of the images, `[resamples, len(keys)]`."""
        sample = self.evidence.sample.columns([self.evidence.columns[key] for key in keys])
        return sample.resampled(seed=self.seed, resamples=resamples)[0]

    @functools.cached_property
    def trees(self) -> Trees:
        """Returns the trees of resamples; the study must have all distances."""
        return grow(self.means(DISTANCES, resamples=TREES))

    @functools.cached_property
    def _all(self) -> Contrasts:
        sample, columns = self.evidence.sample, self.evidence.columns
        weights = np.zeros((len(columns), len(self._columns)))
        for contrast, column in self._columns.items():
            for weight, key in contrast:
                weights[columns[key], column] += weight
        combined = sample.combine(weights)
        return self.drawn(combined, _ROUNDING * (np.abs(weights).T @ np.abs(np.nan_to_num(sample.mean))))

    def drawn(self, sample: Estimates, rounding: Values | float = 0.0) -> Contrasts:
        """Returns the numbers of a sample as contrasts; those below `rounding` are 0."""
        estimate, error = (np.where(np.abs(values) <= rounding, 0.0, values) for values in (sample.mean, sample.error))
        few = sample.images < LEAST_IMAGES
        drawn = sample.studentised(seed=self.seed, resamples=1 if few else self.resamples)
        # Where no image differs from another, resamples deviate by rounding alone.
        drawn[:, error == 0] = 0.0
        return Contrasts(estimate, error, np.ascontiguousarray(drawn.T))
