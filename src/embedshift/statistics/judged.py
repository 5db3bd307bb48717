"""An alternative judged beside a baseline on the same images: what is gained, and which differences that leaves open.

Outcomes are numbers from 0 to 1 of every view, such as whether it found its original. Where an alternative is fitted,
`Split` keeps the images and changes that it is judged by apart from those that it is fitted to; a `Fold` is searched.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, ndtri, stdtr, stdtrit

from embedshift.arrays import GroupNumbers, Values
from embedshift.statistics.intervals import (
    CONFIDENCE,
    LEAST_IMAGES,
    difference_of_proportions,
    mean_interval,
    proportion_interval,
)
from embedshift.statistics.layout import image_means, sums_and_counts
from embedshift.statistics.retrieval import TIE
from embedshift.statistics.sample import Estimates, gather

# The confidence of an interval each of whose ends holds at 95 %: a margin is tested at one end, or by two such tests.
ONE_SIDED = 2 * CONFIDENCE - 1
EQUIVALENT, NOT_WORSE, NOT_EQUIVALENT, UNDECIDED = "equivalent", "not worse", "not equivalent", "undecided"
WITHIN, WORSE, BEYOND = "within", "worse", "beyond"
# How far rounding may carry a number over its bound.
ROUNDING = 1e-12
FOLDS = 5
# The columns of a table of judged alternatives.
NUMBERS = ("value", "ci_low", "ci_high", "difference", "difference_low", "difference_high")


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What one alternative finds of each image.

    Args:
        values: Numbers from 0 to 1, `[n, draws, A]`; NaN for a view that has none.
        pseudovalues: The jackknife's (Efron and Stein 1981), of the same shape, where an image's number depends on the
            other images too, as on those of a gallery; None = it does not.
        is_proportion: Whether the numbers are 0 and 1.
    """

    values: Values
    pseudovalues: Values | None = None
    is_proportion: bool = True

    def minus(self, other: "Outcomes") -> "Outcomes":
        pseudovalues = None
        if self.pseudovalues is not None and other.pseudovalues is not None:
            pseudovalues = self.pseudovalues - other.pseudovalues
        return Outcomes(self.values - other.values, pseudovalues, self.is_proportion)


@dataclass(frozen=True, eq=False)
class Judged:
    """What an alternative finds more than a baseline, by augmentation and then over those included, `[A + 1]` each.

    Args:
        n: Number of views.
        baseline: The baseline's mean.
        value: The alternative's mean.
        gained: The part of images that only the alternative finds.
        lost: The part of images that only the baseline finds.
        number: Number of independent images with the same error.
        groups: Number of groups, or of images.
        own: The alternative's sample, and `sample` that of the gains.
    """

    n: Values
    baseline: Values
    value: Values
    gained: Values
    lost: Values
    number: Values
    groups: int
    own: Estimates
    sample: Estimates
    is_proportion: bool
    is_grouped: bool
    seed: int

    @property
    def difference(self) -> Values:
        return self.gained - self.lost

    def only(self, column: int) -> "Judged":
        """Returns one of the numbers, `[1]`."""
        chosen = [column]
        names = ("n", "baseline", "value", "gained", "lost", "number")
        numbers = {name: getattr(self, name)[chosen] for name in names}
        return replace(self, **numbers, own=self.own.columns(chosen), sample=self.sample.columns(chosen))

    def own_interval(self) -> tuple[Values, Values]:
        """Returns the 95 % interval of `value`."""
        if self.is_proportion:
            return proportion_interval(self.own)
        return mean_interval(self.own, seed=self.seed, low=0.0, high=1.0)

    def p_values(self) -> Values:
        """Returns two-sided p-values of no difference: of the exact sign test, or Student's of groups if larger."""
        more, fewer = (self.number * choose(self.gained, self.lost) for choose in (np.maximum, np.minimum))
        exact = np.where(more > 0, np.minimum(1.0, 2 * betainc(more, fewer + 1, 0.5)), 1.0)
        p = np.fmax(exact, p_of_mean(self.sample)) if self.is_grouped else exact
        return np.where(np.isnan(self.number), 1.0, p)

    def interval(self, level: float = CONFIDENCE, images: int | None = None) -> tuple[Values, Values]:
        """Returns the interval of `difference`, `[A + 1]` each, with `images` images, or groups, in place of its own.

        Proportions have Tango's at the number of independent images; with groups that of resamples, never narrower
        than Tango's on the number of groups. Other numbers have the bootstrap-t, and Tango's where it has none.
        """
        more = 1.0 if images is None else images / self.groups
        z = float(ndtri((1 + level) / 2))
        number = self.number * more
        low, high = difference_of_proportions(self.gained * number, self.lost * number, number, z)
        if self.is_proportion and not self.is_grouped:
            return low, high
        drawn = mean_interval(self.sample, seed=self.seed, low=-1.0, high=1.0, level=level)
        off = [(end - self.sample.mean) / np.sqrt(more) for end in drawn]
        drawn_low, drawn_high = (np.clip(self.difference + each, -1.0, 1.0) for each in off)
        if self.is_proportion:
            return np.fmin(low, drawn_low), np.fmax(high, drawn_high)
        has_ends = np.isfinite(drawn_low) & (self.sample.variance > 0)
        return np.where(has_ends, drawn_low, low), np.where(has_ends, drawn_high, high)


def p_of_mean(sample: Estimates) -> Values:
    """Returns two-sided p-values of means of 0, by Student's t, `[K]`; 1 for a mean of 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        away = np.where(sample.mean == 0, 0.0, np.abs(sample.mean) / sample.error)
    return np.asarray(2 * stdtr(max(sample.group_count - 1, 1), -away))


def pseudovalues(values: Values, lost: Values) -> Values:
    """Returns the jackknife's pseudovalues (Efron and Stein 1981): a number less what all others lose to its image.

    Args:
        values: Numbers of images, `[n, draws]` or `[n, draws, A]`; NaN for a view that has none.
        lost: What the numbers of the other images would gain in sum if the image were not there, of the same shape.
    """
    lost = np.where(np.isnan(values), 0.0, lost)
    return np.asarray(values - lost + lost.sum(axis=(0, 1)) / np.maximum(1, (~np.isnan(values)).sum(axis=(0, 1))))


def judge(
    baseline: Outcomes,
    alternative: Outcomes,
    groups: GroupNumbers | None = None,
    *,
    seed: int,
    included: NDArray[np.bool_] | None = None,
) -> Judged:
    """Judges an alternative beside a baseline by the outcomes of the same views.

    Args:
        baseline: What is there today.
        alternative: What may take its place.
        groups: The group of each image, `[n]`; None = images are independent.
        seed: Decides the resamples.
        included: The augmentations of the last number, bool `[A]`; None = all.

    Returns:
        Both means, what is gained, and its intervals; NaN where fewer than 8 images, or groups, have an outcome.

    Example:
        >>> found = np.array([[1.0, 1.0], [1.0, 0.0]]).repeat((60, 20), axis=0)[:, None, :, None]
        >>> judged = judge(Outcomes(found[:, :, 0]), Outcomes(found[:, :, 1]), seed=0)
        >>> judged.difference[0].item(), [round(float(end[0]), 3) for end in judged.interval()]
        (-0.25, [-0.355, -0.168])
    """
    both = ~np.isnan(baseline.values - alternative.values)
    before, after = (np.where(both, each.values, np.nan) for each in (baseline, alternative))
    gain = alternative.minus(baseline)
    used = both.any(axis=(0, 1)) & (np.ones(both.shape[2], bool) if included is None else included)
    means = [means_of(values, groups, used) for values in (before, after)]
    sample = means_of(gain.values if gain.pseudovalues is None else gain.pseudovalues, groups, used)
    own = alternative.pseudovalues
    own_sample = means[1] if own is None else means_of(np.where(both, own, np.nan), groups, used)
    of_images, views = image_means(gain.values), both.sum(axis=(0, 1))
    images, by_image = (~np.isnan(of_images)).sum(axis=0), np.nan_to_num(of_images)
    with np.errstate(invalid="ignore", divide="ignore"):
        gained, lost, squares = (
            np.append(part := parts.sum(axis=0) / images, part[used].mean() if used.any() else np.nan)
            for parts in (np.maximum(by_image, 0.0), np.maximum(-by_image, 0.0), by_image**2)
        )
    most, n = (np.append(part, part[used].sum()) for part in (images, views))
    number = _independent(sample, squares - (gained - lost) ** 2, most)
    whole = sample.having[:-1] * (1.0 if groups is None else equal_groups(groups[: len(both)]) / sample.group_count)
    number[:-1] = whole if gain.pseudovalues is None else np.minimum(number[:-1], whole)
    number = np.where(sample.having >= LEAST_IMAGES, number, np.nan)
    is_grouped, groups_there = groups is not None, sample.group_count
    values = means[0].mean, means[1].mean, gained, lost, number
    return Judged(n, *values, groups_there, own_sample, sample, gain.is_proportion, is_grouped, seed)


def equal_groups(groups: GroupNumbers) -> float:
    """Returns how many groups of equal size vary as much as these, (Σ m)² / Σ m² for sizes m (Kish 1965)."""
    sizes = np.unique(groups, return_counts=True)[1].astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def means_of(values: Values, groups: GroupNumbers | None, included: NDArray[np.bool_] | None = None) -> Estimates:
    """Returns the mean of each augmentation and, last, over the included ones, `[A + 1]`, of values `[n, draws, A]`."""
    return gather([sums_and_counts(values)], groups=groups).combine(_weights(values.shape[-1], included))


def _weights(count: int, included: NDArray[np.bool_] | None) -> Values:
    chosen = np.ones(count) if included is None else included.astype(np.float64)
    return np.hstack([np.eye(count), chosen[:, None] / max(1.0, chosen.sum())])


def _independent(sample: Estimates, spread: Values, most: Values) -> Values:
    """Returns how many independent images have the same error; Tango's normal quantile becomes Student's."""
    quantile, groups = (1 + CONFIDENCE) / 2, sample.group_count
    has_spread = (spread > 0) & (sample.variance > 0)
    alike = np.where(has_spread, spread * groups / np.where(has_spread, sample.variance, 1.0), groups)
    student = (ndtri(quantile) / stdtrit(max(1, groups - 1), quantile)) ** 2
    # Where nothing differs, views of an image are taken for one: what one loses the others may lose too.
    return np.where(has_spread, np.minimum(alike, most) * student, float(groups))


def decide(interval: Sequence[float], margin: float) -> str:
    """Returns what an interval of a difference says of a loss of `margin`: a loss is below 0.

    Example:
        >>> [decide(ends, 0.01) for ends in ((-0.002, 0.1), (-0.02, 0.1), (-0.02, -0.005), (-0.03, -0.02))]
        ['within', 'undecided', 'worse', 'beyond']
    """
    low, high = interval
    slack = ROUNDING * max(1.0, abs(margin))
    if low >= -margin - slack:
        return WITHIN
    if high < -margin - slack:
        return BEYOND
    return WORSE if high < -slack else UNDECIDED


def verdict(low: float, high: float, margin: float, *, gains_count: bool) -> str:
    """Returns what the one-sided 95 % ends of a difference say of a margin; two tests if gains count."""
    loss, gain = decide((low, high), margin), decide((-high, -low), margin)
    if loss == gain == WITHIN:
        return EQUIVALENT
    if loss == BEYOND or (gains_count and gain == BEYOND):
        return NOT_EQUIVALENT
    return NOT_WORSE if loss == WITHIN and not gains_count else UNDECIDED


@dataclass(frozen=True, eq=False)
class Split:
    """What an alternative is judged by, apart from what it is fitted to: other images, groups and changes.

    Args:
        folds: The fold of each image, `[n]`. Images of a group are in one fold; the gallery of a view is its fold.
        families: Augmentation → the family that is left out with it.
    """

    folds: NDArray[np.intp]
    families: Mapping[str, str]

    @classmethod
    def of(cls, groups: NDArray[np.intp], families: Mapping[str, str]) -> "Split":
        """Splits images into five folds by their groups, numbered from 0; each fold has two groups or more."""
        return cls(groups % max(1, min(FOLDS, (int(groups.max(initial=-1)) + 1) // 2)), families)

    @property
    def is_possible(self) -> bool:
        """Whether there are at least two folds, which needs four images or groups."""
        return bool(self.folds.any())

    def judged(self) -> list[NDArray[np.bool_]]:
        """Returns for each fold which images are judged; an alternative for them is fitted to all others."""
        return [self.folds == fold for fold in range(int(self.folds.max()) + 1)]

    def changes(self) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
        """Yields the augmentations of each family, and those of all others, which an alternative may be fitted to."""
        for family in dict.fromkeys(self.families.values()):
            if others := [name for name, own in self.families.items() if own != family]:
                yield [name for name, own in self.families.items() if own == family], others


class Fold:
    """The images of a fold, searched by their own views; images of a query's own group are no results.

    Args:
        groups: The group of each image, `[m]`.
        there: Whether its original has a vector, bool `[m]`.
        neighbours: How many nearest images count.
    """

    def __init__(self, groups: GroupNumbers, there: NDArray[np.bool_], neighbours: int) -> None:
        self.there, self.neighbours = there, neighbours
        _, self.groups, self.sizes = np.unique(groups, return_inverse=True, return_counts=True)
        self.mates = np.equal.outer(self.groups, self.groups)
        self.none = self.mates | ~there
        np.fill_diagonal(self.mates, val=False)

    def of_ranks(
        self, scores: Values, own: Values, number: Callable[[Values], Values], more: Values | float = 0.0
    ) -> tuple[Values, Values]:
        """Returns a number of the rank that each query's score `own` has among those of others, `[m, m]`, and `more`.

        And for each image what all other queries lose to it, as the mean over its group; both `[m]`.
        """
        better = (np.where(self.none, -np.inf, scores) >= own[:, None] - TIE).astype(np.float32)
        rank = 1.0 + better.sum(axis=1) + more
        without = rank[:, None] - better @ np.eye(len(self.sizes), dtype=np.float32)[self.groups]
        there = ~np.isnan(own)
        rise = (number(without[there]) - 1.0 * number(rank[there])[:, None]).sum(axis=0)
        return np.where(there, number(rank), np.nan), (rise / self.sizes)[self.groups]

    def nearest(self, scores: Values) -> NDArray[np.bool_]:
        """Returns whether an image is among the nearest of its row; ties of the last count too."""
        others = np.where(self.none, -np.inf, scores)
        least = np.partition(others, -self.neighbours, axis=1)[:, -self.neighbours, None]
        return (others >= least) & ~np.isneginf(others)

    def kept(self, near: NDArray[np.bool_], scores: Values) -> Values:
        """Returns the part of the images `near`, bool `[m, m]`, that are among the nearest by other scores, `[m]`."""
        return np.asarray((near & self.nearest(scores)).sum(axis=1) / np.maximum(1, near.sum(axis=1)))


def with_pseudovalues(values: Values, lost: Values) -> Values:
    """Returns numbers and their pseudovalues, `[2, n, draws]`."""
    return np.stack([values, pseudovalues(values, lost)])
