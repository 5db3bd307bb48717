"""A sample of images: the mean of every measured number, and all data that intervals need.

The unit is the image: several draws of an image give one number, so that an image counts once. If images belong to
groups, the unit is the group: its value is the linear approximation of the mean over all images.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Units, Values
from embedshift.statistics.moments import ChunkSums, GroupSums, Moments

# Up to this number of images, resamples use their values; above, the normal law of their covariance, which is
# then as good and does not grow with the number of images.
IN_MEMORY = 5_000
# Images whose vectors are read for numbers of a set. Their order is drawn by the seed: the first are a fair sample.
OF_A_SET = 512
# A spread below this multiple of the mean is rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimates:
    """Means of K numbers over images, and their variation between images.

    Args:
        images: Number n of units: images, or groups of images.
        having: Number of units that have a value, `[K]`.
        counts: Number of values over images and draws, `[K]`.
        mean: Mean over all values, `[K]`; NaN if there is none.
        variance: Variance of the image values (ddof = 1), `[K]`.
        values: One value per image `[n, K]`, whose mean is `mean` and whose variance is n times that of the mean; None
            above `IN_MEMORY` images.
        covariance: Covariance of the image values `[K, K]`; None if it was not requested, and up to `IN_MEMORY` images.
        chunked: Sums of the image values over chunks of images, `[G, K]`; None without chunks.
        image_means: The mean of each image `[n, K]`, NaN if it has no value; None if all images have equally many
            values, so that `values` are these means, and above `IN_MEMORY` images.
        units: Of a sample of groups: the group of each image.
        of_images: Of a sample of groups: number of images that have a value, `[K]`.
    """

    images: int
    having: Values
    counts: Values
    mean: Values
    variance: Values
    values: Values | None = None
    covariance: Values | None = None
    chunked: Values | None = None
    image_means: Values | None = None
    units: Units | None = None
    of_images: Values | None = None

    @property
    def images_having(self) -> Values:
        """Returns the number of images that have a value, `[K]`."""
        return self.having if self.of_images is None else self.of_images

    @property
    def error(self) -> Values:
        """Returns the standard errors of the means, `[K]`; NaN for one image."""
        return np.asarray(np.sqrt(self.variance / self.images))

    @property
    def sd(self) -> Values:
        """Returns standard deviations over the images that have a value, `[K]` (ddof = 1), for one value per image."""
        if self.units is not None:  # NaN above `IN_MEMORY` images
            return self.mean * np.nan if self.image_means is None else estimates_from_values(self.image_means).sd
        n, h = self.images, self.having
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
        combined = estimates_from_values(np.where(lacking, np.nan, np.nan_to_num(self.image_means) @ w), self.units)
        rounding = _ROUNDING * (np.abs(self.mean_or_0) @ np.abs(w))
        return dataclasses.replace(combined, mean=np.where(np.abs(combined.mean) <= rounding, 0.0, combined.mean))

    def incomplete_columns(self, least: int) -> Iterator[tuple[NDArray[np.intp], "Estimates"]]:
        """Yields numbers that not all images have, but at least `least`: their columns, and a sample of these images.

        Numbers of the same images come together.
        """
        few = np.flatnonzero((self.having < self.images) & (self.having >= least))
        if self.image_means is None or not len(few):
            return
        present, which = np.unique(~np.isnan(self.image_means[:, few]), axis=1, return_inverse=True)
        for number, images in enumerate(present.T):
            columns = few[which.ravel() == number]
            units = None if self.units is None else self.units[images]
            yield columns, estimates_from_values(self.image_means[np.ix_(images, columns)], units)

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
        used = w != 0
        missing = np.isnan(self.mean)
        lost = (used & missing[:, None]).any(axis=0)
        w = np.where(missing[:, None], 0.0, w)
        mean = self.mean_or_0 @ w
        # A difference of equal numbers may differ from 0 by rounding.
        mean = np.where(np.abs(mean) <= _ROUNDING * (np.abs(self.mean_or_0) @ np.abs(w)), 0.0, mean)
        mean = np.where(lost, np.nan, mean)
        having, counts, of_images = (
            np.where(used, number[:, None], np.inf).min(axis=0, initial=np.inf)
            for number in (self.having, self.counts, self.images_having)
        )
        values = None if self.values is None else np.nan_to_num(self.values) @ w
        covariance = None if self.covariance is None else w.T @ np.nan_to_num(self.covariance) @ w
        if values is not None:
            variance = _variance(values, mean)
        elif covariance is not None:
            variance = np.diag(covariance).copy()
        else:
            raise ValueError("combinations need image values or their covariance")
        chunked = None if self.chunked is None else np.nan_to_num(self.chunked) @ w
        return Estimates(
            self.images, having, counts, mean, _zero_if_rounding(variance, mean), values, covariance, chunked,
            units=self.units, of_images=None if self.units is None else of_images,
        )  # fmt: skip

    def columns(self, positions: Sequence[int] | NDArray[np.intp]) -> "Estimates":
        """Returns the sample of some of the numbers, by their positions."""
        index = np.asarray(positions, np.intp)
        names = ("having", "counts", "mean", "variance", "values", "chunked", "image_means", "of_images")
        chosen = {name: numbers[..., index] for name in names if (numbers := getattr(self, name)) is not None}
        covariance = None if self.covariance is None else self.covariance[np.ix_(index, index)]
        return dataclasses.replace(self, covariance=covariance, **chosen)


def estimates_from_values(values: ArrayLike, units: Units | None = None) -> Estimates:
    """Makes a sample of values in memory, one per image: `[n, K]`, NaN if there is none; `units` as in `gather`."""
    array = np.asarray(values, np.float64)
    present = ~np.isnan(array)
    return gather([(np.where(present, array, 0.0), present.astype(np.float64))], units=units)


def gather(
    parts: Iterable[tuple[Values, Values]],
    *,
    together: bool = True,
    chunks: Sequence[int] | None = None,
    units: Units | None = None,
) -> Estimates:
    """Makes a sample of images that arrive some at a time; memory does not grow with their number.

    Args:
        parts: For each image the sums over its draws and the numbers of values, `[b, K]` each.
        together: Whether numbers will be combined above `IN_MEMORY` images, which needs their covariance.
        chunks: Sizes of consecutive chunks of images, for `chunked`; with `units`, of the groups.
        units: The group of each image, for a sample of groups; may be longer. None = every image is a unit.

    Example:
        >>> sample = gather([(np.array([[3.0], [5.0]]), np.array([[2.0], [1.0]]))])
        >>> sample.having.item(), sample.counts.item(), round(sample.mean.item(), 3)
        (2.0, 3.0, 2.667)
    """
    if units is not None:
        groups = GroupSums(units, IN_MEMORY)
        for part in parts:
            groups.add(*part)
        return estimates_of_groups(groups, together=together, by_group=chunks is not None)
    kept: list[tuple[Values, Values]] = []
    moments: Moments | None = None
    by_chunk = None if chunks is None else ChunkSums(chunks)
    for sums, counts in parts:
        if by_chunk is not None:
            by_chunk.add(sums, counts)
        if moments is not None:
            moments.add(sums, counts)
            continue
        kept.append((sums, counts))
        if sum(len(part) for part, _ in kept) > IN_MEMORY:
            moments = Moments(centre_of(kept), together)
            for part in kept:
                moments.add(*part)
            kept = []
    return with_chunks(_from_values(kept) if moments is None else estimates_from_moments(moments), by_chunk)


def estimates_of_groups(groups: GroupSums, *, together: bool, by_group: bool = False) -> Estimates:
    """Returns the sample of groups, from sums over the images of each; `by_group` gives `chunked`, by group."""
    present, units, sizes = np.unique(groups.units[: groups.seen], return_inverse=True, return_counts=True)
    sums, counts = groups.sums[present], groups.counts[present]
    blocks = [slice(start, start + IN_MEMORY) for start in range(0, len(present), IN_MEMORY)]
    estimates = gather(((sums[block], counts[block]) for block in blocks), together=together)
    chunked = None
    if by_group and estimates.values is not None:
        off = (estimates.values - estimates.mean) * (groups.seen / estimates.images)
        chunked = estimates.mean * sizes[:, None] + off
    means = groups.image_means
    return dataclasses.replace(estimates, chunked=chunked, image_means=means, units=units, of_images=groups.having)


def centre_of(parts: Iterable[tuple[Values, Values]]) -> Values:
    """Returns the means of some images, `[K]`, 0 if there is none, as a centre around which squares are summed."""
    return np.nan_to_num(_from_values(list(parts)).mean)


def with_chunks(estimates: Estimates, by_chunk: ChunkSums | None) -> Estimates:
    """Returns the sample with sums of its image values over chunks, if there are chunks."""
    if by_chunk is None or by_chunk.sums is None or by_chunk.counts is None:
        return estimates
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = (by_chunk.sums - estimates.mean * by_chunk.counts) / (estimates.counts / estimates.images)
    return dataclasses.replace(estimates, chunked=np.asarray(estimates.mean * by_chunk.sizes[:, None] + rest))


def estimates_from_moments(moments: Moments) -> Estimates:
    """Returns the sample with means, and the variance or covariance of the image values."""
    with np.errstate(invalid="ignore", divide="ignore"):
        off = moments.sums / moments.counts
        mean, per_image = moments.centre + off, moments.counts / moments.images
        if moments.together:
            across = moments.sum_count * off
            products = moments.sum_sum - across - across.T + np.outer(off, off) * moments.count_count
            covariance = products / np.outer(per_image, per_image) / (moments.images - 1)
            variance = np.diag(covariance).copy()
        else:
            products = moments.sum_sum - 2 * off * moments.sum_count + off**2 * moments.count_count
            covariance, variance = None, products / per_image**2 / (moments.images - 1)
    return Estimates(
        moments.images, moments.having, moments.counts, mean, _zero_if_rounding(variance, mean), None, covariance
    )


def _from_values(kept: Sequence[tuple[Values, Values]]) -> Estimates:
    sums, counts = (np.vstack([part[side] for part in kept]) for side in (0, 1))
    total = counts.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums.sum(axis=0) / total
        values = mean + (sums - mean * counts) / (total / len(sums))
        image_means = None if (counts == counts[:1]).all() else sums / counts
    having = (counts > 0).sum(axis=0).astype(np.float64)
    return Estimates(len(sums), having, total, mean, _variance(values, mean), values, image_means=image_means)


def _variance(values: Values, mean: Values) -> Values:
    """Returns the variance of image values around their mean (ddof = 1), `[K]`; rounding counts as 0."""
    if len(values) < 2:
        return np.full(values.shape[1], np.nan)
    variance = ((values - mean) ** 2).sum(axis=0) / (len(values) - 1)
    return _zero_if_rounding(variance, mean)


def _zero_if_rounding(variance: Values, mean: Values) -> Values:
    with np.errstate(invalid="ignore"):
        return np.where(variance <= (_ROUNDING * np.maximum(1.0, np.abs(mean))) ** 2, 0.0, variance)
