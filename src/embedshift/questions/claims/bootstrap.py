"""One bootstrap for all claims: every contrast and every tree comes from the same resamples of the images."""

import functools
from collections.abc import Iterable, Sequence

import numpy as np

from embedshift.arrays import Values
from embedshift.questions.claims.contrasts import Contrast, Contrasts
from embedshift.questions.claims.evidence import Evidence, Key
from embedshift.questions.claims.trees import DISTANCES, TREES, Trees, grow
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.resamples import resampled, studentised

# A contrast below this multiple of its numbers is rounding.
_ROUNDING = 1e-12


class Bootstrap:
    """The evidence and its resamples, drawn once for all contrasts."""

    def __init__(self, evidence: Evidence, contrasts: Iterable[Contrast], *, seed: int, resamples: int) -> None:
        self.evidence, self.seed, self.resamples = evidence, seed, resamples
        known = [each for each in dict.fromkeys(contrasts) if evidence.having(key for _, key in each)]
        self._columns = {contrast: column for column, contrast in enumerate(known)}

    def having(self, asked: Iterable[Contrast]) -> int:
        """Returns how many images have a value of every number in the contrasts; 0 if the study lacks one."""
        return self.evidence.having(key for contrast in asked for _, key in contrast)

    def contrasts(self, asked: Sequence[Contrast]) -> Contrasts:
        """Returns some of the contrasts; the study must have their numbers."""
        columns, every = [self._columns[contrast] for contrast in asked], self._every
        return Contrasts(every.estimate[columns], every.error[columns], every.drawn[columns])

    def means(self, keys: Sequence[Key], *, resamples: int) -> Values:
        """Returns means of resamples of the images, `[resamples, len(keys)]`."""
        chosen = self.evidence.sample.columns([self.evidence.places[key] for key in keys])
        return resampled(chosen, seed=self.seed, resamples=resamples)[0]

    @functools.cached_property
    def trees(self) -> Trees:
        """Returns the trees of resamples; the study must have all distances."""
        return grow(self.means(DISTANCES, resamples=TREES))

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
        few = sample.images < LEAST_IMAGES
        drawn = studentised(found, seed=self.seed, resamples=1 if few else self.resamples)
        # Where no image differs from another, resamples deviate by rounding alone.
        return Contrasts(estimate, error, np.where(error[:, None] == 0, 0.0, drawn.T))
