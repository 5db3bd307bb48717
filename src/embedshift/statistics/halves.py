"""Random halves of an encoder's dimensions: two encoders that are equal, and by how much their numbers differ."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Floats, GroupNumbers, Values
from embedshift.statistics import shift_ratios
from embedshift.statistics.agreement import METRICS
from embedshift.statistics.baselines import cosine_baseline, sums_of
from embedshift.statistics.judged import Judged, Outcomes, judge
from embedshift.statistics.paired import discordance_growth, found_first
from embedshift.statistics.power import Discordance
from embedshift.statistics.sample import Estimates, group_numbers
from embedshift.statistics.shift_ratios import Shifts
from embedshift.statistics.vectors import halves, ranks_of_originals, view_distances

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

    def ranks(self, groups: GroupNumbers | None) -> Values:
        """Returns the rank of the original of each view, `[n, draws, A]`."""
        n, dim = len(self.views), self.views.shape[-1]
        ranks = ranks_of_originals(self.originals[:n], self.views.reshape(n, -1, dim), groups)
        return ranks.reshape(self.views.shape[:-1]).transpose(0, 2, 1).astype(np.float64)


@dataclass(frozen=True, eq=False)
class ComparedHalves:
    """Two halves, compared as two encoders are: by augmentation, then over all of them, `[A + 1]`."""

    log_ratios: Estimates
    recall: Judged
    growth: Values
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
        one, other = first.ranks(of_views), second.ranks(of_views)
        found = Outcomes(found_first(one)), Outcomes(found_first(other))
        chosen = [*np.eye(len(in_all), dtype=bool), in_all]
        yield ComparedHalves(
            shift_ratios.with_overall(sample, in_all).columns(np.roll(np.arange(len(in_all) + 1), -1)),
            judge(found[0], found[1], of_views, seed=seed, included=in_all),
            np.array([discordance_growth(one[..., columns], other[..., columns]) for columns in chosen]),
            [of(first.originals, second.originals, groups)[0] for of in METRICS.values()],
        )


def agreement_floors(compared: Sequence[ComparedHalves]) -> Values:
    """Returns the least agreement of equal encoders, by metric."""
    agreements = [each.agreement for each in compared]
    return np.asarray(np.mean(agreements, axis=0) - BELOW * np.std(agreements, axis=0, ddof=1))


def discordance(compared: Sequence[ComparedHalves], column: int, others: float) -> Discordance:
    """Returns in how many searches equal encoders differ, under an augmentation, or over all as the last column.

    `others` images are searched, too, by a study, but not by the halves.
    """
    numbers = [(of.recall.gained + of.recall.lost, of.recall.number, of.growth) for of in compared]
    differing, pilot, growth = np.mean(numbers, axis=0)[:, column].tolist()
    return Discordance(differing, pilot, growth, pilot, others * pilot / compared[0].recall.groups)
