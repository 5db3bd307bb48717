"""A sample of images: the mean of every measured number, how it varies, and resamples of images or groups.

Several draws of an image give one number, so that an image counts once. If images belong to groups, a group counts
once: its value is the linear approximation of the mean over all images. Without groups, an image is a group of its own.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import GroupNumbers, Values
from embedshift.config.processes import one_thread

# Up to this number of groups, resamples use their values; above, the normal law of their covariance, which is then as
# good and does not grow with the number of groups.
IN_MEMORY = 5_000
# Images whose vectors are read for numbers of a set. Their order is drawn by the seed: the first are a fair sample.
OF_A_SET = 512
# Resamples of one interval; and where the largest of many deviations counts, whose tail is thinner.
RESAMPLES, RESAMPLES_OF_MANY = 2_000, 9_999
# Numbers of one chunk of resamples in memory.
_CHUNK = 2**21
# A spread below this multiple of the mean is rounding.
_ROUNDING = 1e-12


def group_numbers(groups: GroupNumbers | None, count: int) -> GroupNumbers:
    """Returns the group of each of the first images, numbered from 0 on; where images are independent, its own."""
    return np.arange(count) if groups is None else np.unique(groups[:count], return_inverse=True)[1]


@dataclass(frozen=True)
class _InMemory:
    """How at most `IN_MEMORY` groups vary: one value per group `[n, K]`, whose mean is that of the sample."""

    values: Values
    # The mean of each image, NaN if it has no value. None if all images have equally many values, so that `values` are
    # these means; None also for more than `IN_MEMORY` images.
    image_means: Values | None = None

    def variance(self, mean: Values) -> Values:
        """Returns the variance around the mean (ddof = 1), `[K]`; rounding counts as 0."""
        if len(self.values) < 2:
            return np.full(self.values.shape[1], np.nan)
        return _zero_if_rounding(((self.values - mean) ** 2).sum(axis=0) / (len(self.values) - 1), mean)

    def combined(self, weights: Values) -> "_InMemory":
        return _InMemory(np.nan_to_num(self.values) @ weights)

    def moved(self, by: Values) -> "_InMemory":
        return _InMemory(self.values + by)

    def columns(self, index: NDArray[np.intp]) -> "_InMemory":
        return _InMemory(self.values[:, index], None if self.image_means is None else self.image_means[:, index])

    def resampled(self, sample: "Estimates", seed: int, resamples: int) -> tuple[Values, Values]:
        mean, n = np.nan_to_num(sample.mean), len(self.values)
        off = np.nan_to_num(self.values) - mean
        squares, tiny = off**2, 1e-12 * (sample.variance + 1e-300)
        means, errors = (np.empty((resamples, len(mean))) for _ in range(2))
        start = 0
        for drawn in weights(n, seed=seed, resamples=resamples):
            end = start + len(drawn)
            np.divide(drawn @ off, n, out=means[start:end])
            spread = drawn @ squares
            spread /= n
            spread -= means[start:end] ** 2
            # A resample of equal values has no spread; its rounding would look like a tiny spread.
            spread[~(spread > tiny)] = 0.0
            np.sqrt(spread / max(1, n - 1), out=errors[start:end])
            start = end
        means += mean
        return means, errors


@dataclass(frozen=True)
class _Covariance:
    """How more groups vary: the covariance of their values `[K, K]`; None if it was not requested."""

    matrix: Values | None

    def variance(self, mean: Values) -> Values:
        assert self.matrix is not None
        return _zero_if_rounding(np.diag(self.matrix), mean)

    def combined(self, weights: Values) -> "_Covariance":
        if self.matrix is None:
            raise ValueError("combinations need image values or their covariance")
        return _Covariance(weights.T @ np.nan_to_num(self.matrix) @ weights)

    def moved(self, by: Values) -> "_Covariance":
        return self

    def columns(self, index: NDArray[np.intp]) -> "_Covariance":
        return _Covariance(None if self.matrix is None else self.matrix[np.ix_(index, index)])

    def resampled(self, sample: "Estimates", seed: int, resamples: int) -> tuple[Values, Values]:
        if self.matrix is None:
            raise ValueError("more images than are kept in memory, and no covariance of their numbers")
        covariance = np.nan_to_num(self.matrix)
        error = np.sqrt(np.diag(covariance))
        scale = np.where(error > 0, error, 1.0)
        values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        normal = np.random.default_rng(seed).standard_normal((resamples, len(root))) @ root.T
        error = np.nan_to_num(sample.error)
        return np.nan_to_num(sample.mean) + normal * error, np.tile(error, (resamples, 1))


@dataclass(frozen=True)
class Estimates:
    """Means of K numbers over images, and how they vary between groups, which are images if these are independent.

    Args:
        group_count: Number n of groups.
        having: Number of groups that have a value, `[K]`.
        images_having: Number of images that have a value, `[K]`.
        counts: Number of values over images and draws, `[K]`.
        mean: Mean over all values, `[K]`; NaN if there is none.
        variance: Variance of the values of groups (ddof = 1), `[K]`.
        spread: These values, or their covariance.
        chunked: Sums of the values of groups over chunks of images, `[G, K]`; None without chunks.
        groups: The group of each image; None = images are independent.
    """

    group_count: int
    having: Values
    images_having: Values
    counts: Values
    mean: Values
    variance: Values
    spread: _InMemory | _Covariance
    chunked: Values | None = None
    groups: GroupNumbers | None = None

    @property
    def in_memory(self) -> bool:
        """Whether the values of the groups are there, which are at most `IN_MEMORY`."""
        return isinstance(self.spread, _InMemory)

    @property
    def values(self) -> Values:
        """The values of the groups, `[n, K]`; only where they are in memory."""
        assert isinstance(self.spread, _InMemory)
        return self.spread.values

    @property
    def image_means(self) -> Values | None:
        """The mean of each image, `[m, K]`, NaN if it has no value; None if `values` are these, or not in memory."""
        return self.spread.image_means if isinstance(self.spread, _InMemory) else None

    @property
    def error(self) -> Values:
        """Returns the standard errors of the means, `[K]`; NaN for one group."""
        return np.asarray(np.sqrt(self.variance / self.group_count))

    @property
    def sd(self) -> Values:
        """Returns standard deviations over the images that have a value, `[K]` (ddof = 1), for one value per image."""
        if self.groups is not None:  # NaN above `IN_MEMORY` images
            return self.mean * np.nan if self.image_means is None else estimates_from_values(self.image_means).sd
        n, h = self.group_count, self.having
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.sqrt(self.variance * (n - 1) / (h - 1)) * h / n)

    @property
    def mean_or_0(self) -> Values:
        """Returns the means, with 0 for missing ones."""
        return np.nan_to_num(self.mean)

    def paired(self, weights: ArrayLike) -> "Estimates":
        """Returns linear combinations, such as differences, over the images that have every number involved.

        Above `IN_MEMORY` images it behaves as `combine`.

        Args:
            weights: `[K, J]`.

        Example:
            >>> sample = estimates_from_values(np.array([[1.0, 0.5], [3.0, 1.0], [9.0, np.nan]]))
            >>> [round(each([[1.0], [-1.0]]).mean.item(), 3) for each in (sample.paired, sample.combine)]
            [1.25, 3.583]
        """
        w = np.asarray(weights, np.float64)
        if self.image_means is None:
            return self.combine(w)
        lacking = np.isnan(self.image_means) @ np.abs(w) > 0
        combined = estimates_from_values(np.where(lacking, np.nan, np.nan_to_num(self.image_means) @ w), self.groups)
        return dataclasses.replace(combined, mean=self._without_rounding(combined.mean, w))

    def combine(self, weights: ArrayLike) -> "Estimates":
        """Returns linear combinations of the means.

        Args:
            weights: `[K, J]`.

        Returns:
            A sample of J numbers; NaN if a number with a weight is missing.

        Example:
            >>> sample = estimates_from_values(np.array([[1.0, 0.5], [3.0, 1.0]]))
            >>> sample.combine([[1.0], [-1.0]]).mean.item()
            1.25
        """
        w = np.asarray(weights, np.float64)
        used, missing = w != 0, np.isnan(self.mean)
        w = np.where(missing[:, None], 0.0, w)
        mean = self._without_rounding(self.mean_or_0 @ w, w)
        having, images_having, counts = (
            np.where(used, number[:, None], np.inf).min(axis=0, initial=np.inf)
            for number in (self.having, self.images_having, self.counts)
        )
        mean = np.where((used & missing[:, None]).any(axis=0), np.nan, mean)
        spread = self.spread.combined(w)
        chunked = None if self.chunked is None else np.nan_to_num(self.chunked) @ w
        variance = spread.variance(mean)
        return Estimates(self.group_count, having, images_having, counts, mean, variance, spread, chunked, self.groups)

    def with_means(self, mean: Values) -> "Estimates":
        """Returns a sample of other means, around which groups vary as they do."""
        return dataclasses.replace(self, mean=mean, spread=self.spread.moved(np.nan_to_num(mean) - self.mean_or_0))

    def _without_rounding(self, mean: Values, weights: Values) -> Values:
        # A difference of equal numbers may differ from 0 by rounding.
        return np.where(np.abs(mean) <= _ROUNDING * (np.abs(self.mean_or_0) @ np.abs(weights)), 0.0, mean)

    def columns(self, positions: Sequence[int] | NDArray[np.intp]) -> "Estimates":
        """Returns the sample of some of the numbers, by their positions."""
        index = np.asarray(positions, np.intp)
        having, images_having, counts, mean, variance = (
            part[index] for part in (self.having, self.images_having, self.counts, self.mean, self.variance)
        )
        spread, chunked = self.spread.columns(index), None if self.chunked is None else self.chunked[:, index]
        return Estimates(self.group_count, having, images_having, counts, mean, variance, spread, chunked, self.groups)

    def incomplete_columns(self, least: int) -> Iterator[tuple[NDArray[np.intp], "Estimates"]]:
        """Yields numbers that not all images have, but at least `least`: their columns, and a sample of these images.

        Numbers of the same images come together.
        """
        few = np.flatnonzero((self.having < self.group_count) & (self.having >= least))
        if self.image_means is None or not len(few):
            return
        present, which = np.unique(~np.isnan(self.image_means[:, few]), axis=1, return_inverse=True)
        for number, images in enumerate(present.T):
            columns = few[which.ravel() == number]
            groups = None if self.groups is None else self.groups[images]
            yield columns, estimates_from_values(self.image_means[np.ix_(images, columns)], groups)

    def resampled(self, *, seed: int, resamples: int) -> tuple[Values, Values]:
        """Returns means of resamples of the groups, and their standard errors, `[resamples, K]` each."""
        return self.spread.resampled(self, seed, resamples)

    def studentised(self, *, seed: int, resamples: int) -> Values:
        """Returns deviations of the resampled means, each in its own standard error, `[resamples, K]`."""
        means, errors = self.resampled(seed=seed, resamples=resamples)
        return in_standard_errors(means - self.mean_or_0, errors, np.nan_to_num(self.error))


def estimates_from_values(values: ArrayLike, groups: GroupNumbers | None = None) -> Estimates:
    """Makes a sample of values in memory, one per image: `[n, K]`, NaN if there is none; `groups` as in `gather`."""
    array = np.asarray(values, np.float64)
    present = ~np.isnan(array)
    return gather([(np.where(present, array, 0.0), present.astype(np.float64))], groups=groups)


def gather(
    parts: Iterable[tuple[Values, Values]],
    *,
    together: bool = True,
    chunks: Sequence[int] | None = None,
    groups: GroupNumbers | None = None,
) -> Estimates:
    """Makes a sample of images that arrive some at a time; memory does not grow with their number.

    Args:
        parts: For each image the sums over its draws and the numbers of values, `[b, K]` each.
        together: Whether numbers will be combined above `IN_MEMORY` groups, which needs their covariance.
        chunks: Sizes of consecutive chunks of images, for `chunked`; with `groups`, each group is a chunk.
        groups: The group of each image; may be longer. None = images are independent.

    Example:
        >>> sample = gather([(np.array([[3.0], [5.0]]), np.array([[2.0], [1.0]]))])
        >>> sample.having.item(), sample.counts.item(), round(sample.mean.item(), 3)
        (2.0, 3.0, 2.667)
    """
    if groups is not None:
        return _of_groups(parts, groups, together=together, by_group=chunks is not None)
    kept, moments = list[tuple[Values, Values]](), None
    by_chunk = None if chunks is None else _GroupSums(np.repeat(np.arange(len(chunks)), chunks))
    with one_thread():  # the products of some images are small, and threads may sum in another order
        for part in parts:
            if by_chunk is not None:
                by_chunk.add(*part)
            if moments is not None:
                moments.add(*part)
                continue
            kept.append(part)
            if sum(len(sums) for sums, _ in kept) > IN_MEMORY:
                moments = _Moments(np.nan_to_num(_from_values(kept).mean), together)
                for part in kept:
                    moments.add(*part)
                kept.clear()
    estimates = _from_values(kept) if moments is None else moments.estimates()
    if by_chunk is None or chunks is None:
        return estimates
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = (by_chunk.sums - estimates.mean * by_chunk.counts) / (estimates.counts / estimates.group_count)
    return dataclasses.replace(estimates, chunked=estimates.mean * np.asarray(chunks, np.float64)[:, None] + rest)


def _of_groups(
    parts: Iterable[tuple[Values, Values]], groups: GroupNumbers, *, together: bool, by_group: bool
) -> Estimates:
    summed, means = _GroupSums(groups), list[Values]()
    for sums, counts in parts:
        summed.add(sums, counts)
        if summed.seen <= IN_MEMORY:
            with np.errstate(invalid="ignore"):
                means.append(sums / counts)
    present, numbers, sizes = np.unique(groups[: summed.seen], return_inverse=True, return_counts=True)
    sums, counts = summed.sums[present], summed.counts[present]
    blocks = [slice(start, start + IN_MEMORY) for start in range(0, len(present), IN_MEMORY)]
    estimates = gather(((sums[block], counts[block]) for block in blocks), together=together)
    spread, chunked = estimates.spread, None
    if isinstance(spread, _InMemory):
        spread = _InMemory(spread.values, np.vstack(means) if summed.seen <= IN_MEMORY else None)
        if by_group:
            off = (spread.values - estimates.mean) * (summed.seen / estimates.group_count)
            chunked = estimates.mean * sizes[:, None] + off
    return dataclasses.replace(estimates, images_having=summed.having, spread=spread, chunked=chunked, groups=numbers)


def _from_values(kept: Sequence[tuple[Values, Values]]) -> Estimates:
    sums, counts = (np.vstack([part[side] for part in kept]) for side in (0, 1))
    total = counts.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums.sum(axis=0) / total
        values = mean + (sums - mean * counts) / (total / len(sums))
        image_means = None if (counts == counts[:1]).all() else sums / counts
    having = (counts > 0).sum(axis=0).astype(np.float64)
    spread = _InMemory(values, image_means)
    return Estimates(len(sums), having, having, total, mean, spread.variance(mean), spread)


def _zero_if_rounding(variance: Values, mean: Values) -> Values:
    with np.errstate(invalid="ignore"):
        return np.where(variance <= (_ROUNDING * np.maximum(1.0, np.abs(mean))) ** 2, 0.0, variance)


class _Moments:
    """Sums of products of image sums and counts: enough for means and covariances, for any number of images."""

    def __init__(self, centre: Values, together: bool) -> None:
        self.centre, self.together, self.images = centre, together, 0
        shape = (len(centre), len(centre)) if together else (len(centre),)
        self.sums, self.counts, self.having = (np.zeros(len(centre)) for _ in range(3))
        self.sum_sum, self.sum_count, self.count_count = (np.zeros(shape) for _ in range(3))

    def add(self, sums: Values, counts: Values) -> None:
        s = sums - self.centre * counts
        self.images += len(s)
        self.sums += s.sum(axis=0)
        self.counts += counts.sum(axis=0)
        self.having += (counts > 0).sum(axis=0)
        for total, a, b in ((self.sum_sum, s, s), (self.sum_count, s, counts), (self.count_count, counts, counts)):
            total += a.T @ b if self.together else (a * b).sum(axis=0)

    def estimates(self) -> Estimates:
        with np.errstate(invalid="ignore", divide="ignore"):
            off = self.sums / self.counts
            mean, per_image = self.centre + off, self.counts / self.images
            if self.together:
                across = self.sum_count * off
                products = self.sum_sum - across - across.T + np.outer(off, off) * self.count_count
                covariance = products / np.outer(per_image, per_image) / (self.images - 1)
                variance = np.diag(covariance)
            else:
                products = self.sum_sum - 2 * off * self.sum_count + off**2 * self.count_count
                covariance, variance = None, products / per_image**2 / (self.images - 1)
        variance = _zero_if_rounding(variance, mean)
        having = self.having
        return Estimates(self.images, having, having, self.counts, mean, variance, _Covariance(covariance))


class _GroupSums:
    """Sums and counts by group of images, and the number of images that have a value."""

    def __init__(self, groups: GroupNumbers) -> None:
        self.groups, self.seen = groups, 0
        self.sums = self.counts = np.zeros((0, 0))
        self.having = np.zeros(0)

    def add(self, sums: Values, counts: Values) -> None:
        if not len(self.sums):
            self.sums, self.counts = (np.zeros((int(self.groups.max()) + 1, sums.shape[1])) for _ in range(2))
            self.having = np.zeros(sums.shape[1])
        groups = self.groups[self.seen : self.seen + len(sums)]
        order = np.argsort(groups, kind="stable")
        present, first = np.unique(groups[order], return_index=True)
        self.sums[present] += np.add.reduceat(sums[order], first, axis=0)
        self.counts[present] += np.add.reduceat(counts[order], first, axis=0)
        self.having += (counts > 0).sum(axis=0)
        self.seen += len(sums)


def weights(count: int, *, seed: int, resamples: int) -> Iterator[Values]:
    """Yields how often each of `count` items is drawn in resamples, some resamples at a time: `[r, count]`."""
    if resamples * count <= _CHUNK:
        yield _kept_weights(count, seed, resamples)
    else:
        yield from _drawn_weights(count, seed, resamples)


# Every table of a study draws the same.
@functools.lru_cache(maxsize=2)
def _kept_weights(count: int, seed: int, resamples: int) -> Values:
    (drawn,) = _drawn_weights(count, seed, resamples)
    drawn.setflags(write=False)
    return drawn


def _drawn_weights(count: int, seed: int, resamples: int) -> Iterator[Values]:
    rng, step = np.random.default_rng(seed), max(1, _CHUNK // count)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count).astype(np.float64)


def in_standard_errors(deviations: Values, errors: Values, scale: Values) -> Values:
    """Divides deviations by standard errors; a deviation that is only rounding relative to `scale` becomes 0."""
    real = (np.abs(deviations) > 1e-12 * scale) & (scale > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(deviations, errors, out=np.zeros_like(deviations), where=real)
