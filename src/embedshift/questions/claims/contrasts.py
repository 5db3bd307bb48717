"""One bootstrap for the page: every contrast of every claim from the same resamples of the images."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Values
from embedshift.questions.claims.evidence import Evidence, Key
from embedshift.statistics import intervals

# A linear combination of numbers: their weights and keys.
Contrast = tuple[tuple[float, Key], ...]
# Below so many times the numbers that a contrast is made of, it is rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Contrasts:
    """J contrasts and the same of R resamples.

    Args:
        estimate: Their values `[J]`.
        error: Their standard errors `[J]`.
        drawn: Deviations of the resamples, in their own standard errors, `[J, R]`.
    """

    estimate: Values
    error: Values
    drawn: Values

    @property
    def t(self) -> Values:
        """The contrasts in standard errors `[J]`; 0 where a contrast is 0 in every image."""
        return intervals.over(self.estimate, self.error, 0.0)

    @property
    def still(self) -> bool:
        """Whether all contrasts are 0 in every image."""
        return not (self.estimate.any() or self.error.any())

    def all_above(self) -> float:
        """The p of "not all are above 0": the largest one-sided p of one contrast (intersection-union).

        Example:
            >>> Contrasts(np.array([2.0]), np.ones(1), np.array([[0.0, 1.0, -1.0]])).all_above()
            0.25
        """
        return float(share(self.drawn >= self.t[:, None]).max())

    def one_below(self) -> float:
        """The p of "none is below 0": that of the contrast furthest below, among all (max-T).

        Example:
            >>> Contrasts(np.array([2.0, -2.0]), np.ones(2), np.array([[0.0, 3.0, -3.0], [0.0, 1.0, 1.0]])).one_below()
            0.5
        """
        return float(share((-self.drawn).max(axis=0) >= (-self.t).max()))

    def one_differs(self) -> float:
        """The p of "all are 0", in both directions at once (max-T).

        Example:
            >>> Contrasts(np.array([-2.0]), np.ones(1), np.array([[0.0, 3.0, -1.0]])).one_differs()
            0.5
        """
        return float(share(np.abs(self.drawn).max(axis=0) >= np.abs(self.t).max()))

    def smallest(self) -> tuple[float, float, float]:
        """The smallest contrast and its 95 % interval: the least pointwise lower and the least simultaneous upper end.

        The ends are NaN where resamples without spread are so many that there is none.
        """
        tail = (1 - intervals.LEVEL) / 2
        below = np.quantile(self.drawn, 1 - tail, axis=1, method="higher")
        above = np.quantile((-self.drawn).max(axis=0), 1 - tail, method="higher")
        with np.errstate(invalid="ignore"):
            low = np.where(self.error > 0, self.estimate - below * self.error, self.estimate).min()
            high = np.where(self.error > 0, self.estimate + above * self.error, self.estimate).min()
        ends = (float(low), float(high)) if np.isfinite(low) and np.isfinite(high) else (np.nan, np.nan)
        return float(self.estimate.min()), *ends


def share(exceeding: NDArray[np.bool_]) -> Values:
    """A p by resamples: (1 + those that exceed) / (1 + all), over the last axis.

    Example:
        >>> share(np.array([True, False, False])).item()
        0.5
    """
    return np.asarray((1 + exceeding.sum(axis=-1)) / (1 + exceeding.shape[-1]))


class Bootstrap:
    """The evidence and its resamples, drawn once for all contrasts.

    Args:
        evidence: The images' numbers.
        contrasts: All that will be asked for; those of numbers that the study does not have are left out.
        seed: The study's seed.
        resamples: R.
    """

    def __init__(self, evidence: Evidence, contrasts: Iterable[Contrast], *, seed: int, resamples: int) -> None:
        self.evidence, self.seed, self.resamples = evidence, seed, resamples
        known = [each for each in dict.fromkeys(contrasts) if evidence.having(key for _, key in each)]
        self._columns = {contrast: column for column, contrast in enumerate(known)}

    def having(self, asked: Iterable[Contrast]) -> int:
        """Number of images that have a value of every number in the contrasts; 0 where the study lacks one."""
        return self.evidence.having(key for contrast in asked for _, key in contrast)

    def contrasts(self, asked: Sequence[Contrast]) -> Contrasts:
        """Some of the contrasts, of numbers that the study has."""
        columns, every = [self._columns[contrast] for contrast in asked], self._every
        return Contrasts(every.estimate[columns], every.error[columns], every.drawn[columns])

    def means(self, keys: Sequence[Key], *, resamples: int) -> Values:
        """Means of resamples of the images `[resamples, len(keys)]`."""
        chosen = self.evidence.sample.columns([self.evidence.places[key] for key in keys])
        return intervals.resampled(chosen, seed=self.seed, resamples=resamples)[0]

    @functools.cached_property
    def _every(self) -> Contrasts:
        sample, places = self.evidence.sample, self.evidence.places
        weights = np.zeros((len(places), len(self._columns)))
        for contrast, column in self._columns.items():
            for weight, key in contrast:
                weights[places[key], column] += weight
        found = sample.combine(weights)
        rounding = _ROUNDING * (np.abs(weights).T @ np.abs(np.nan_to_num(sample.mean)))
        estimate, error = (np.where(np.abs(each) <= rounding, 0.0, each) for each in (found.mean, found.error))
        few = sample.images < intervals.LEAST_IMAGES
        drawn = intervals.studentised(found, seed=self.seed, resamples=1 if few else self.resamples)
        return Contrasts(estimate, error, np.ascontiguousarray(drawn.T))


def difference(metric: str, more: str, less: str, sign: float = 1.0) -> Contrast:
    """The mean of a metric under one augmentation less that under another, times a sign.

    Example:
        >>> difference("l2_distance", "noise", "blur")
        ((1.0, ('l2_distance', 'noise')), (-1.0, ('l2_distance', 'blur')))
    """
    return between(((metric, more),), ((metric, less),), sign)


def between(more: Sequence[Key], less: Sequence[Key], sign: float = 1.0) -> Contrast:
    """The mean of some numbers less the mean of others, times a sign."""
    return (*((sign / len(more), key) for key in more), *((-sign / len(less), key) for key in less))
