"""Claims about how many augmentations do something: a number of contrasts above 0, and a rank."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedshift.augmentations.paper import PAPER
from embedshift.questions.claims.bootstrap import Bootstrap
from embedshift.questions.claims.contrasts import Contrast, Contrasts, between
from embedshift.questions.claims.verdict import Finding
from embedshift.statistics.baselines import Baseline, Pairs
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.sample import Estimates, estimates_from_values
from embedshift.statistics.summary import COSINE

NAMES = tuple(PAPER)
# More than half of the nine; and the paper's group of the least changed.
MOST, LEAST_CHANGED = len(NAMES) // 2 + 1, 3


@dataclass(frozen=True)
class MostAltered:
    """Tests whether at least five of the nine relative shifts of the cosine are above a level."""

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
        """Returns distances minus the level's, over what the baseline is resampled by: images, or chunks of many."""
        assert cosines.chunked is not None
        count, images = len(pairs.images), pairs.images.sum()
        shifts = 1.0 - cosines.mean - count * (cosines.chunked - np.outer(pairs.images, cosines.mean)) / images
        # What a unit adds to the baseline is what leaving it out takes away (jackknife).
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
        having = bootstrap.having(selected)
        if not having or bootstrap.contrasts(selected).all_zero:
            return None
        contrasts = bootstrap.contrasts(selected)
        number, low, high = contrasts.number_above()
        p = contrasts.at_least_above(LEAST_CHANGED)[::-1]
        return Finding(1 + number) if having < LEAST_IMAGES else Finding(1 + number, 1 + low, 1 + high, p)
