"""Chains of changes against the sums of the shifts of their parts: functions of arrays.

The vector of an image under a chain is predicted by its original and the shifts of the parts, added up and set to
length 1. How far measured chains are from their predictions says how far a chain that was not measured will be.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from embedshift.arrays import Floats, GroupNumbers, Values
from embedshift.questions.chains.numbers import NO_NUMBER, Moments, Number, interval
from embedshift.statistics.intervals import CONFIDENCE, mean_interval
from embedshift.statistics.retrieval import Gallery, Positions, count_closer
from embedshift.statistics.sample import estimates_from_values
from embedshift.statistics.vectors import normalised_float32

# Measured chains from which on a new one has an interval of 95 %.
LEAST_CHAINS = round(1 / (1 - CONFIDENCE)) - 1


def predicted(originals: Floats, changed: Floats) -> Floats:
    """Returns the unit vectors of originals `[n, D]` moved by the shifts of all parts: from `[n, k, draws, D]`.

    Example:
        >>> original, blur, dark = np.eye(3, dtype=np.float32)
        >>> moved = [original + 0.75 * each for each in (blur, dark)]
        >>> found = predicted(original[None], np.array(moved)[None, :, None])[0, 0]
        >>> [round(each.item(), 2) for each in found]
        [0.69, 0.51, 0.51]
    """
    start = originals[:, None]
    return normalised_float32(start + (changed - start[:, None]).sum(axis=1))


def distances(originals: Floats, views: Floats) -> Values:
    """Returns 1 - cos of unit vectors of originals `[n, D]` and views `[n, draws, D]`, mean over draws, `[n]`."""
    return np.asarray(np.square(views - originals[:, None], dtype=np.float64).sum(axis=2).mean(axis=1) / 2)


def ratio(measured: Values, expected: Values, groups: GroupNumbers | None, seed: int) -> Number:
    """Returns the ratio of two means over the same images `[n]`, with its interval; NaN where nothing is expected."""
    sample = estimates_from_values(np.stack([measured, expected], axis=1), groups)
    over, under = sample.mean.tolist()
    if not under > 0:
        return NO_NUMBER
    low, high = mean_interval(sample.combine([[1.0], [-over / under]]), seed=seed)
    return Number(over / under, max(0.0, (over + float(low[0])) / under), (over + float(high[0])) / under)


def difference(one: Values, other: Values, groups: GroupNumbers | None, seed: int) -> Number:
    """Returns the difference of two means over the same images `[n]`, with its interval."""
    sample = estimates_from_values((one - other)[:, None], groups)
    low, high = mean_interval(sample, seed=seed)
    return Number(float(sample.mean[0]), float(low[0]), float(high[0]))


class Direction(NamedTuple):
    """The direction of a chain and that of the sum of its parts.

    `cosine` is that of the mean shifts; `ceiling` the cosine of two equal directions, which the noise of the images
    allows; `agreement` their quotient, the cosine without noise.
    """

    cosine: float
    ceiling: float
    agreement: Number


def direction(moments: Moments, chain: int, parts: Sequence[int]) -> Direction:
    """Compares the mean shift of a chain with the sum of those of its parts, by their places in the moments."""
    own, gram = [*parts], moments.products
    squares = gram[:, chain, chain], gram[:, own][:, :, own].sum(axis=(1, 2))
    product = gram[:, chain, own].sum(axis=1)
    means = moments.means[0, chain].astype(np.float64), moments.means[0, own].sum(axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        noisy = np.float64(np.linalg.norm(means[0]) * np.linalg.norm(means[1]))
        lengths = np.sqrt(squares[0]) * np.sqrt(squares[1])  # NaN below 0: lost in noise
        agreement = product / np.where(lengths > 0, lengths, np.nan)
        ceiling = float(lengths[0] / noisy)
    cosine = float(product[0] / noisy)
    if not np.isfinite(agreement).mean() > CONFIDENCE:
        return Direction(cosine, ceiling, NO_NUMBER)
    return Direction(cosine, ceiling, interval(agreement[np.isfinite(agreement)]))


def found_first(views: Floats, right: Positions, gallery: Gallery) -> Values:
    """Returns the fraction of the draws of each image `[n, draws, D]` that find its original first, `[n]`.

    `right` has the places of the originals in the gallery, `[n]`. A tie is no find.
    """
    count, draws, size = views.shape
    queries, places = np.asarray(views.reshape(-1, size), np.float64), np.repeat(right, draws)
    own = None if gallery.groups is None else gallery.groups[places]
    closer = count_closer(queries, gallery.cosines(queries, places), gallery, places, own)
    return np.asarray((closer == 0).reshape(count, draws).mean(axis=1))


def of_a_new_one(values: Values) -> tuple[float, float]:
    """Returns an interval of one more value that is exchangeable with these `[K]`; it covers 95 % or more.

    Full conformal prediction (Vovk, Gammerman and Shafer 2005) by the distance to the mean of all K + 1 values. A
    value is in the interval if more than 5 % of all lie as far from that mean as it does.

    Raises:
        ValueError: Fewer than `LEAST_CHAINS` values.

    Example:
        >>> [round(end, 2) for end in of_a_new_one(np.linspace(-1, 1, 39))]
        [-1.0, 1.0]
    """
    count = len(values)
    if count < LEAST_CHAINS:
        raise ValueError(f"{count} values; an interval needs {LEAST_CHAINS}")
    # The other value at which a new one lies as far from the mean of all as this one does.
    opposite = (2 * values.sum() - (count + 1) * values) / (count - 1)
    ends = np.sort(np.stack([values, opposite]), axis=0)
    least = int((1 - CONFIDENCE) * (count + 1) + 1e-9)
    return float(np.sort(ends[0])[least - 1]), float(np.sort(ends[1])[-least])
