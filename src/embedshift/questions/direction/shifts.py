"""Directions from sums over images: mean shifts, their agreement, and the cosine of two shifts of one image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Values
from embedshift.statistics.vectors import STILL, normalised

# A sum that is shorter, beside the lengths that were summed, is the rounding of float32.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class ShiftDirections:
    """Sums over images, and over those of each group; halves, chance and others are of groups, NaN without `groups`."""

    sums: Mapping[str, Values]
    draws: int
    groups: Sequence[Mapping[str, Values]] | None = None

    @property
    def total(self) -> Values:
        total = self.sums["shifts"]
        has_direction = self._moved() & (np.linalg.norm(total, axis=-1) > _ROUNDING * self.sums["lengths"])
        return np.where(has_direction[:, None], total, np.nan)

    def directions(self) -> Values:
        return cosines(self.total, self.total)

    def resultant(self) -> Values:
        """Returns the length of the mean shift divided by the mean length of shifts, `[A]`; 1 = equal directions."""
        return self._relative_to_lengths(np.linalg.norm(np.nan_to_num(self.total), axis=-1))

    def by_group(self) -> "ShiftDirections":
        if not self.groups:
            return ShiftDirections(
                {name: np.full(array.shape, np.nan) for name, array in self.sums.items()}, self.draws
            )
        total: dict[str, Values] = {}
        for group in self.groups:
            total = added(total, group)
        total["together"] = np.sum([(group["shifts"] ** 2).sum(axis=-1) for group in self.groups], axis=0)
        total["images"] = np.sum([group["images"] > 0 for group in self.groups], axis=0)
        return ShiftDirections(total, self.draws, self.groups)

    def resultant_by_chance(self) -> Values:
        """Returns what `resultant` would be for shifts whose directions are independent between images, `[A]`."""
        return self._relative_to_lengths(np.sqrt(self.sums["together"]))

    def common_offset(self) -> Values:
        """Returns the squared length of the mean shift over the mean squared length, from pairs of images, `[A]`."""
        counts, n = self.sums["counts"], self.sums["images"]
        between = (np.nan_to_num(self.total) ** 2).sum(axis=-1) - self.sums["together"]
        with np.errstate(invalid="ignore", divide="ignore"):
            within = np.sum([group["counts"] ** 2 for group in self.groups], axis=0) if self.groups else counts**2 / n
            fraction = between / (counts**2 - within) / (self.sums["squares"] / counts)
        return np.where(self._moved() & (n > 1), fraction, np.nan)

    def split_half(self) -> Values:
        """Returns the cosine between mean shifts of two halves of the images, expected over all halvings, `[A]`."""
        squares, n = self.sums["together"], self.sums["images"]
        between = (np.nan_to_num(self.total) ** 2).sum(axis=-1) - squares
        with np.errstate(invalid="ignore", divide="ignore"):
            across = between * n / (4 * (n - 1))
            cosine = across / (squares / 2 + between * (n - 2) / (4 * (n - 1)))
        return np.where(self._moved() & (n > 1), np.clip(cosine, -1.0, 1.0), np.nan)

    def relative_to_others(self) -> Values:
        """The mean cosine distance of views to their own originals divided by that to other originals, `[A]`."""
        sums, counts = self.sums, self.sums["counts"]
        own_distances = sums["squares"] / 2  # 1 - cos of unit vectors is half the square of their distance
        within, within_pairs = counts - own_distances, counts
        if self.groups:
            within = np.sum([self._to_originals(group) for group in self.groups], axis=0)
            within_pairs = np.sum([group["counts"] * group["count"] for group in self.groups], axis=0)
        other_pairs = counts * sums["count"] - within_pairs
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_to_others = 1 - (self._to_originals(sums) - within) / other_pairs
            ratio = own_distances / counts / mean_to_others
        return np.where((other_pairs > 0) & (mean_to_others > STILL), ratio, np.nan)

    def _to_originals(self, sums: Mapping[str, Values]) -> Values:
        """Returns the sums of the cosines of all views with all originals, `[A]`."""
        views = sums["shifts"] + self.draws * sums["originals"] - sums.get("lost", 0.0)
        return np.asarray(views @ sums["originals"])

    def _relative_to_lengths(self, values: Values) -> Values:
        moved = self._moved()
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(moved, values / self.sums["lengths"], np.nan)

    def _moved(self) -> NDArray[np.bool_]:
        return np.asarray(self.sums["squares"] > STILL * self.sums["counts"])


def image_sums(embeddings: ArrayLike, shape: tuple[int, int]) -> dict[str, Values]:
    """Returns the sums of images `[n, 1 + A * draws, D]` of the shape (draws, A); empty if none has a direction."""
    vectors = normalised(embeddings)
    vectors = vectors[np.isfinite(vectors[:, 0]).all(axis=-1)]
    if not len(vectors):
        return {}
    originals, views = vectors[:, 0], vectors[:, 1:].reshape(len(vectors), *shape, vectors.shape[-1])
    finite = np.asarray(np.isfinite(views).all(axis=-1))
    shifts = views - originals[:, None, None]
    shifts[~finite] = 0.0
    image_shifts, lengths = shifts.sum(axis=1), np.linalg.norm(shifts, axis=-1)
    lost = (~finite).sum(axis=1)
    return {
        "count": np.array(float(len(vectors))),
        "originals": originals.sum(axis=0),
        "shifts": image_shifts.sum(axis=0),
        "images": finite.any(axis=1).sum(axis=0, dtype=np.float64),
        "counts": finite.sum(axis=(0, 1), dtype=np.float64),
        "lengths": lengths.sum(axis=(0, 1)),
        "squares": (lengths**2).sum(axis=(0, 1)),
        "together": (image_shifts**2).sum(axis=(0, 2)),
        **({"lost": np.einsum("na,nd->ad", lost, originals)} if lost.any() else {}),
    }


def added(sums: Mapping[str, Values], more: Mapping[str, Values]) -> dict[str, Values]:
    return {**sums, **{name: array + sums[name] if name in sums else array for name, array in more.items()}}


def cosines(first: ArrayLike, second: ArrayLike) -> Values:
    """Returns cosines between vectors `[A, D]` and vectors `[B, D]`, float64 `[A, B]`; NaN if one is NaN or zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in map(np.asarray, (first, second)))
        return np.asarray(np.clip(a @ b.T, -1.0, 1.0))


def cosines_of_shifts(cosine: ArrayLike, distances: ArrayLike) -> Values:
    distance = 1 - np.asarray(cosine, np.float64)
    first, second = np.triu_indices(distance.shape[-1], k=1)
    a, b = distance[..., first], distance[..., second]
    moved = (2 * a >= STILL) & (2 * b >= STILL)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = (a + b - np.asarray(distances, np.float64)) / np.sqrt(4 * a * b)
    return np.where(moved, np.clip(cosines, -1.0, 1.0), np.nan)
