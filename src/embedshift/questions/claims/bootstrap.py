"""One bootstrap for all claims: every contrast and every tree comes from the same resamples of the images."""

import functools
from collections.abc import Iterable, Sequence

import numpy as np

from embedshift.arrays import Values
from embedshift.questions.claims.contrasts import Contrast, Contrasts
from embedshift.questions.claims.evidence import Evidence, Key
from embedshift.questions.claims.trees import DISTANCES, TREES, Trees, grow
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.sample import Estimates

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
