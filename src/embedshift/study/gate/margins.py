"""By how much a study may differ from its reference and still be equal to it: the margins of the rules of a pair.

Equal encoders are random halves of the reference's own dimensions, compared as the gate compares two studies.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from embedshift.arrays import Floats, GroupNumbers, Values
from embedshift.augmentations import ORIGINAL
from embedshift.statistics import shift_ratios
from embedshift.statistics.agreement import COMPARED, METRICS
from embedshift.statistics.baselines import KEPT, cosine_baseline, sums_of
from embedshift.statistics.intervals import LEVEL, PLANNED, difference_of_proportions
from embedshift.statistics.shift_ratios import Shifts
from embedshift.statistics.vectors import finds_original, halves, view_distances
from embedshift.store.reader import Reader
from embedshift.study.paired.estimate import Estimate, proportion_difference
from embedshift.study.paired.ratios import ALL

# The least margins of a ratio: of an augmentation, and of all.
LEAST, LEAST_OF_ALL = 1.10, 1.05
# Agreement of a study and that of the halves are of the same images, so that no interval is between them: standard
# deviations of the halves below their mean.
BELOW = 4.0
# Images whose views are halved, where there are few augmentations; the least number; and the most views of them.
MOST_IMAGES, FEW_IMAGES, MOST_VIEWS = KEPT, 256, 20_000


@dataclass(frozen=True)
class Half:
    """One encoder: unit vectors of originals `[m, D]`, and of all views of the first n, `[n, A, draws, D]`."""

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


# A bound, and the change that breaks it in 80 % of studies.
Margin = tuple[float, float]


def margins(reader: Reader, included: Sequence[str]) -> tuple[dict[str, Margin], dict[str, Margin], dict[str, float]]:
    """Returns how many times as far an equal encoder may move, how much less recall@1 it may have, its least agreement.

    The first two are by augmentation, with "all" over those that are included if they are several, the last is by
    metric.
    """
    originals, views = _vectors(reader)
    groups = None if reader.groups is None else reader.groups[: len(originals)]
    in_all = np.isin(reader.augmentations, included)
    *by_augmentation, floors = margins_of(originals, views, in_all, reader.info.units, reader.info.seed, groups)
    names = [ALL, *reader.augmentations] if in_all.sum() > 1 else reader.augmentations
    ratio, recall = (
        dict(zip(names, zip(*np.roll(numbers, 1, axis=1)[:, -len(names) :].tolist(), strict=True), strict=True))
        for numbers in by_augmentation
    )
    return ratio, recall, dict(zip(METRICS, floors.tolist(), strict=True))


def margins_of(
    originals: Floats,
    views: Floats,
    in_all: NDArray[np.bool_],
    images: int,
    seed: int,
    groups: GroupNumbers | None = None,
) -> tuple[Values, Values, Values]:
    """Returns ratios and falls of recall, `[2, A + 1]`, and floors of agreement, for a study of so many images.

    Embeddings are of originals `[m, D]` and of all views of the first n, `[n, A, draws, D]`. The rows are bounds, and
    the changes that break them in 80 % of studies; the last column is over the augmentations `in_all`.
    """
    n = len(views)
    of_views = None if groups is None else np.unique(groups[:n], return_inverse=True)[1]
    variances, falls, agreements = list[Values](), list[Values](), list[list[float]]()
    for pair in halves(np.concatenate([originals, views.reshape(-1, views.shape[-1])]), seed=seed):
        first, second = (
            Half(half[: len(originals)], half[len(originals) :].reshape(*views.shape[:-1], -1)) for half in pair
        )
        sample = shift_ratios.log_ratios(first.shifts(of_views), second.shifts(of_views), of_views)
        overall = shift_ratios.over_augmentations(sample, in_all)
        variances.append(np.append(sample.variance, overall.variance) / sample.images)
        falls.append(_falls(second.found(of_views) - first.found(of_views), in_all, of_views))
        agreements.append([of(first.originals, second.originals, groups)[0] for of in METRICS.values()])
    # Of a large study some images are halved; errors fall with the root of the number.
    fewer = math.sqrt((n if of_views is None else of_views.max() + 1) / images)
    floors = np.mean(agreements, axis=0) - BELOW * np.std(agreements, axis=0, ddof=1)
    fall = np.max(falls, axis=0) * fewer
    broken = np.minimum(fall * (1 + math.sqrt(PLANNED)), 1.0)
    return _ratio_margins(np.sqrt(np.mean(variances, axis=0)) * fewer, images), np.stack([fall, broken]), floors


def _ratio_margins(errors: Values, images: int) -> Values:
    count = len(errors) - 1
    half = stdtrit(images - 1, 1 - (1 - LEVEL) / 2 / np.array([count] * count + [1])) * errors
    bounds = np.maximum(np.exp(2 * half), [LEAST] * count + [LEAST_OF_ALL])
    return np.stack([bounds, bounds * np.exp(math.sqrt(PLANNED) * half)])


def _falls(gains: Values, in_all: NDArray[np.bool_], groups: GroupNumbers | None) -> Values:
    """Returns how far recall may fall by the intervals of gains, in either direction, `[A + 1]`."""
    estimates = recall_differences(gains, in_all, groups)
    falls = np.array([max(each.high, -each.low) for each in estimates])
    one_lost = -difference_of_proportions(0, 1, estimates[0].images)[0]
    return np.append(np.maximum(falls[:-1], one_lost), falls[-1])


def recall_differences(gains: Values, in_all: NDArray[np.bool_], groups: GroupNumbers | None) -> list[Estimate]:
    """Returns the differences of recall by augmentation, and over some, from gains `[n, A, draws]`."""
    means, of_images = gains.mean(axis=2), np.arange(len(gains)) if groups is None else groups
    overall, count = means[:, in_all].ravel(), int(in_all.sum())
    of_each = [proportion_difference(column, groups) for column in means.T]
    return [*of_each, proportion_difference(overall, np.repeat(of_images, count), per_equal=count)]


def _vectors(reader: Reader) -> tuple[Floats, Floats]:
    """Returns embeddings of originals `[m, D]`, and of all views of the first n of them, `[n, A, draws, D]`."""
    order = reader.image_rows.order
    positions = [position for name in reader.augmentations for position in order.positions(name)]
    count = min(order.images, MOST_IMAGES, max(FEW_IMAGES, MOST_VIEWS // len(positions)))
    parts = [block["embedding"].to_numpy() for block in reader.image_rows.head(count).blocks("embedding")]
    views = np.concatenate(parts).reshape(count, len(order.views), -1)[:, positions]
    originals = reader.rows().filter(view=ORIGINAL).select("embedding").head(COMPARED).collect()["embedding"].to_numpy()
    return originals, views.reshape(count, len(reader.augmentations), -1, views.shape[-1])
