"""Mergeable sums over images, from which means, variances and covariances are computed."""

from collections.abc import Sequence

import numpy as np

from embedshift.arrays import Units, Values


class Moments:
    """Sums of products of image sums and counts: enough for means and covariances, for any number of images."""

    def __init__(self, centre: Values, together: bool) -> None:
        self.centre, self.together, self.images = centre, together, 0
        shape = (len(centre), len(centre)) if together else (len(centre),)
        self.sums, self.counts, self.having = (np.zeros(len(centre)) for _ in range(3))
        self.sum_sum, self.sum_count, self.count_count = (np.zeros(shape) for _ in range(3))

    def add(self, sums: Values, counts: Values) -> None:
        """Adds images: for each the sums over its draws and the numbers of values, `[b, K]` each."""
        s = sums - self.centre * counts
        self.images += len(s)
        self.sums += s.sum(axis=0)
        self.counts += counts.sum(axis=0)
        self.having += (counts > 0).sum(axis=0)
        for total, a, b in ((self.sum_sum, s, s), (self.sum_count, s, counts), (self.count_count, counts, counts)):
            total += a.T @ b if self.together else (a * b).sum(axis=0)

    def merge(self, other: "Moments") -> None:
        self.images += other.images
        for name in ("sums", "counts", "having", "sum_sum", "sum_count", "count_count"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class ChunkSums:
    """Sums and counts by chunks of consecutive images."""

    def __init__(self, sizes: Sequence[int], start: int = 0) -> None:
        self.sizes = np.asarray(sizes, np.float64)
        self.ends, self.seen = np.cumsum(sizes), start
        self.sums: Values | None = None
        self.counts: Values | None = None

    def add(self, sums: Values, counts: Values) -> None:
        if self.sums is None or self.counts is None:
            self.sums, self.counts = (np.zeros((len(self.sizes), sums.shape[1])) for _ in range(2))
        chunk = np.searchsorted(self.ends, self.seen + np.arange(len(sums)), side="right")
        np.add.at(self.sums, chunk, sums)
        np.add.at(self.counts, chunk, counts)
        self.seen += len(sums)

    def merge(self, other: "ChunkSums") -> None:
        if other.sums is not None and other.counts is not None:
            self.sums = other.sums if self.sums is None else self.sums + other.sums
            self.counts = other.counts if self.counts is None else self.counts + other.counts


class GroupSums:
    """Sums and counts by group of images, the number of images that have a value, and the means of at most `kept`."""

    def __init__(self, units: Units, kept: int = 0) -> None:
        self.units, self.kept, self.seen = units, kept, 0
        self._means: list[Values] = []
        self.sums = self.counts = np.zeros((0, 0))
        self.having = np.zeros(0)

    def add(self, sums: Values, counts: Values) -> None:
        self._allocate(sums.shape[1])
        units = self.units[self.seen : self.seen + len(sums)]
        order = np.argsort(units, kind="stable")
        present, first = np.unique(units[order], return_index=True)
        self.sums[present] += np.add.reduceat(sums[order], first, axis=0)
        self.counts[present] += np.add.reduceat(counts[order], first, axis=0)
        self.having += (counts > 0).sum(axis=0)
        self.seen += len(sums)
        if self.seen <= self.kept:
            with np.errstate(invalid="ignore"):
                self._means.append(sums / counts)

    @property
    def image_means(self) -> Values | None:
        """Returns the mean of each image, NaN if it has no value; None for more than `kept` images."""
        return np.vstack(self._means) if self.seen <= self.kept else None

    def merge(self, other: "GroupSums", present: Units) -> None:
        self._allocate(other.sums.shape[1])
        self.sums[present] += other.sums
        self.counts[present] += other.counts
        self.having += other.having
        self.seen += other.seen

    def _allocate(self, width: int) -> None:
        if not len(self.sums):
            self.sums, self.counts = (np.zeros((int(self.units.max()) + 1, width)) for _ in range(2))
            self.having = np.zeros(width)
