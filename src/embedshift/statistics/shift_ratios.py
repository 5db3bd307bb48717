"""How many times as far the views of one encoder move as those of another: relative shifts, paired by image.

The logarithm of a ratio is a mean over images and the difference of both baselines. Its error is that of the jackknife:
every group, or image, is left out of the mean and of both baselines.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from embedshift.arrays import GroupNumbers, Values
from embedshift.statistics.baselines import Baseline
from embedshift.statistics.intervals import CONFIDENCE, ends_or_nan, simultaneous_intervals
from embedshift.statistics.layout import sums_and_counts
from embedshift.statistics.sample import Estimates, estimates_from_values, gather

# Added to a relative shift before its logarithm, so that views that moved by rounding decide nothing.
LEAST = 1e-6
# The relative shift of the reference from which an augmentation says nothing about how far an encoder moves.
SATURATED = 0.9
# How many times as far is much farther.
MUCH = 2.0


@dataclass(frozen=True)
class Shifts:
    """How far the views of an encoder move: the relative shift of every view, `[n, A, draws]`; NaN if there is none."""

    relative: Values
    # The jackknife's deviation of the logarithm of the distance to the baseline for each group, `[G]`; mean 0.
    off: Values


def shifts(distances: Values, baseline: Baseline, deviations: Values) -> Shifts:
    return Shifts(np.maximum(distances, 0.0) / (1 - baseline.value), deviations)


def jackknife_deviations(baseline: Baseline) -> Values:
    """Returns for each group G - 1 times what it adds to the logarithm of 1 - baseline, less their mean, `[G]`."""
    assert baseline.pairs is not None
    without = baseline.pairs.without_each()
    with np.errstate(invalid="ignore", divide="ignore"):
        off = (len(without) - 1) * (np.log(1 - baseline.value) - np.log(1 - without))
    return np.asarray(off - off.mean())


def normal_deviations(baseline: Baseline, count: int, seed: Sequence[int]) -> Values:
    """Returns deviations with the baseline's standard error from the normal law, for one whose pairs are not kept."""
    off = np.random.default_rng(seed).standard_normal(count)
    off = (off - off.mean()) / off.std(ddof=1)
    return np.asarray(off * np.sqrt(count) * baseline.error / (1 - baseline.value))


def log_ratios(reference: Shifts, study: Shifts, groups: GroupNumbers | None = None) -> Estimates:
    """Returns the mean logarithms of the ratios of relative shifts for each augmentation, as a sample of the groups."""
    # A larger baseline makes every relative shift smaller, but not those that are `LEAST`.
    both = _both(reference, study)
    moves = [_means(each.relative / (each.relative + LEAST), both) for each in (reference, study)]
    off = np.outer(reference.off, moves[0]) - np.outer(study.off, moves[1])
    return _sample(view_log_ratios(reference, study), off, groups)


def shift_differences(reference: Shifts, study: Shifts, groups: GroupNumbers | None = None) -> Estimates:
    means = relative_shift_means(reference, study)
    off = np.outer(reference.off, means[0]) - np.outer(study.off, means[1])
    return _sample(study.relative - reference.relative, off, groups)


def relative_shift_means(reference: Shifts, study: Shifts) -> tuple[Values, Values]:
    """Returns both encoders' relative shifts, `[A]` each, over the views that both have."""
    both = _both(reference, study)
    return _means(reference.relative, both), _means(study.relative, both)


def view_log_ratios(reference: Shifts, study: Shifts) -> Values:
    return np.asarray(np.log(study.relative + LEAST) - np.log(reference.relative + LEAST))


def tail_differences(reference: Shifts, study: Shifts, groups: GroupNumbers | None = None) -> Estimates:
    """Returns by how much more views move `MUCH` times as far than the reference's, `[A]`, as a sample of the groups.

    A larger baseline moves all logarithms at once, and as many views across the limit as have a logarithm near it.
    """
    logs, least = view_log_ratios(reference, study), math.log(MUCH)
    near = (np.abs(np.abs(logs) - least) < least / 2).astype(np.float64)
    density = _means(near, _both(reference, study)) / least
    far = np.where(np.isnan(logs), np.nan, np.sign(logs) * (np.abs(logs) > least))
    return _sample(far, np.outer(reference.off - study.off, density), groups)


def with_overall(sample: Estimates, included: NDArray[np.bool_]) -> Estimates:
    """Returns the mean over some augmentations, bool `[A]`, NaN for none, and each, as one sample `[1 + A]`."""
    chosen = included & ~np.isnan(sample.mean)
    both = sample.combine(np.column_stack([chosen / max(1, chosen.sum()), np.eye(len(chosen))]))
    if chosen.any():
        return both
    return dataclasses.replace(both, mean=np.append(np.nan, both.mean[1:]), having=np.append(0.0, both.having[1:]))


def over_augmentations(sample: Estimates, included: NDArray[np.bool_]) -> Estimates:
    return with_overall(sample, included).columns([0])


def apart(sample: Estimates, included: NDArray[np.bool_], *, seed: int) -> list[int]:
    """Returns which ratios are not the geometric mean of those included; none where all may be equal.

    The joint test is of the largest studentised deviation from the mean logarithm, resampled by groups.
    """
    used = np.flatnonzero(included & np.isfinite(sample.mean))
    if len(used) < 2:
        return []
    deviations = sample.columns(used).combine(np.eye(len(used)) - 1 / len(used))
    return list(used[simultaneous_intervals(deviations, seed=seed).significant].tolist())


def t_interval(sample: Estimates, level: float = CONFIDENCE) -> tuple[Values, Values]:
    """Returns the ends of Student's interval of each mean, `[K]`; NaN for fewer than 8 groups."""
    margin = scipy.special.stdtrit(max(sample.group_count - 1, 1), (1 + level) / 2) * sample.error
    return ends_or_nan(sample, sample.mean - margin, sample.mean + margin)


def _both(reference: Shifts, study: Shifts) -> NDArray[np.bool_]:
    return np.asarray(~np.isnan(reference.relative) & ~np.isnan(study.relative))


def _means(values: Values, used: NDArray[np.bool_]) -> Values:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(used, values, 0.0).sum(axis=(0, 2)) / used.sum(axis=(0, 2)))


def _sample(values: Values, off: Values, groups: GroupNumbers | None) -> Estimates:
    """Returns the sample of means `[n, A, draws]`; values of groups have the deviations of the baselines, `[G, A]`."""
    means = gather([sums_and_counts(values.transpose(0, 2, 1))], together=False, groups=groups)
    sample = estimates_from_values(means.values + off)
    having = means.having
    return dataclasses.replace(sample, mean=means.mean, having=having, images_having=having, counts=means.counts)
