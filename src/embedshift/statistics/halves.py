"""Random halves of an encoder's dimensions: two encoders that are equal, and by how much their numbers differ."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from embedshift.arrays import Floats, GroupNumbers, Values
from embedshift.statistics import shift_ratios
from embedshift.statistics.agreement import METRICS
from embedshift.statistics.baselines import cosine_baseline, sums_of
from embedshift.statistics.intervals import CONFIDENCE, difference_of_proportions
from embedshift.statistics.judged import Judged, Outcomes, judge
from embedshift.statistics.power import POWER, times_more
from embedshift.statistics.sample import Estimates, group_numbers
from embedshift.statistics.shift_ratios import Shifts
from embedshift.statistics.vectors import finds_original, halves, view_distances

# The least margins of a ratio: of an augmentation, and of all.
LEAST, LEAST_OF_ALL = 1.10, 1.05
# Agreement of a study and that of the halves are of the same images, so that no interval is between them: standard
# deviations of the halves below their mean.
BELOW = 4.0


@dataclass(frozen=True)
class Half:
    originals: Floats
    views: Floats

    def shifts(self, groups: GroupNumbers | None) -> Shifts:
        n, dim = len(self.views), self.views.shape[-1]
        distances = view_distances(self.originals[:n], self.views.reshape(n, -1, dim)).reshape(self.views.shape[:-1])
        baseline = cosine_baseline(sums_of(self.originals[:n], groups), n)
        assert baseline is not None
        return shift_ratios.shifts(distances, baseline, shift_ratios.jackknife_deviations(baseline))

    def found(self, groups: GroupNumbers | None) -> Values:
        n, dim = len(self.views), self.views.shape[-1]
        found = finds_original(self.originals[:n], self.views.reshape(n, -1, dim), groups)
        return found.reshape(self.views.shape[:-1]).astype(np.float64)


@dataclass(frozen=True, eq=False)
class ComparedHalves:
    """Two halves, compared as two encoders are: by augmentation, then over all of them, `[A + 1]`."""

    log_ratios: Estimates
    recall: Judged
    agreement: list[float]


def compared_halves(
    originals: Floats, views: Floats, in_all: NDArray[np.bool_], seed: int, groups: GroupNumbers | None = None
) -> Iterator[ComparedHalves]:
    """Yields the comparison of two halves for each drawn rotation.

    Embeddings are of originals `[m, D]` and of all views of the first n, `[n, A, draws, D]`; the last number of each
    comparison is over the augmentations `in_all`.
    """
    of_views = None if groups is None else group_numbers(groups, len(views))
    for pair in halves(np.concatenate([originals, views.reshape(-1, views.shape[-1])]), seed=seed):
        first, second = (
            Half(half[: len(originals)], half[len(originals) :].reshape(*views.shape[:-1], -1)) for half in pair
        )
        sample = shift_ratios.log_ratios(first.shifts(of_views), second.shifts(of_views), of_views)
        one, other = (Outcomes(half.found(of_views).transpose(0, 2, 1)) for half in (first, second))
        yield ComparedHalves(
            shift_ratios.with_overall(sample, in_all).columns(np.roll(np.arange(len(in_all) + 1), -1)),
            judge(one, other, of_views, seed=seed, included=in_all),
            [of(first.originals, second.originals, groups)[0] for of in METRICS.values()],
        )


def margins_of(compared: Sequence[ComparedHalves], images: int) -> tuple[Values, Values, Values]:
    """Returns ratios and falls of recall, `[2, A + 1]`, and floors of agreement, for a study of so many images.

    The rows are bounds, and the changes that break them in 80 % of studies.
    """
    # Of a large study some images are halved; errors fall with the root of the number.
    fewer = math.sqrt(compared[0].recall.groups / images)
    agreements = [each.agreement for each in compared]
    floors = np.mean(agreements, axis=0) - BELOW * np.std(agreements, axis=0, ddof=1)
    fall = np.max([fall_of(each.recall) for each in compared], axis=0) * fewer
    broken = np.minimum(fall * (1 + math.sqrt(times_more())), 1.0)
    errors = np.sqrt(np.mean([each.log_ratios.error**2 for each in compared], axis=0)) * fewer
    return ratio_margins(errors, images), np.stack([fall, broken]), floors


def ratio_margins(errors: Values, images: int, power: float = POWER) -> Values:
    """Returns bounds of ratios and the ratios that break them, `[2, A + 1]`, from standard errors of logarithms."""
    count = len(errors) - 1
    half = stdtrit(images - 1, 1 - (1 - CONFIDENCE) / 2 / np.array([count] * count + [1])) * errors
    bounds = np.maximum(np.exp(2 * half), [LEAST] * count + [LEAST_OF_ALL])
    return np.stack([bounds, bounds * np.exp(math.sqrt(times_more(power=power)) * half)])


def fall_of(recall: Judged, images: int | None = None) -> Values:
    """Returns how far recall may fall by the intervals of gains, in either direction, `[A + 1]`."""
    low, high = recall.interval(images=images)
    falls, one_lost = np.maximum(high, -low), -difference_of_proportions(0, 1, images or recall.groups)[0]
    return np.append(np.maximum(falls[:-1], one_lost), falls[-1])
