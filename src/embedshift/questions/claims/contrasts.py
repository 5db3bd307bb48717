"""Contrasts of means, and the p values of claims about them, by resamples of the images."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Values
from embedshift.questions.claims.evidence import Key
from embedshift.statistics import intervals

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
