"""From sums over images to directions: mean shifts, what they share, and the cosine of two shifts of one image."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Values

# A shift whose square is smaller is rounding: the view did not move.
STILL = 1e-12
# A sum that is shorter, beside the lengths that were summed, is the rounding of float32.
_NOTHING = 1e-6


@dataclass(frozen=True)
class Shifts:
    """Sums over the images of a study.

    Args:
        sums: As `ShiftSums.close` of `measure.py` names them.
        draws: Views per augmentation and image.
    """

    sums: Mapping[str, Values]
    draws: int

    @property
    def total(self) -> Values:
        """Sums of the shifts `[A, D]`; NaN where nothing moved, or shifts cancel each other."""
        total = self.sums["shifts"]
        there = self._moved() & (np.linalg.norm(total, axis=-1) > _NOTHING * self.sums["lengths"])
        return np.where(there[:, None], total, np.nan)

    def directions(self) -> Values:
        """Cosine between mean shifts `[A, A]`, in [-1, 1]; NaN where an augmentation has none."""
        return cosines(self.total, self.total)

    def shared(self) -> Values:
        """Length of the mean shift over the mean length of shifts `[A]`: 1 = all go one way."""
        return self._over_lengths(np.linalg.norm(np.nan_to_num(self.total), axis=-1))

    def null(self) -> Values:
        """What `shared` would be for shifts whose directions have nothing in common from image to image `[A]`."""
        return self._over_lengths(np.sqrt(self.sums["together"]))

    def split_half(self) -> Values:
        """Cosine between the mean shifts of two halves of the images, as expected over all ways to halve them `[A]`.

        The mean inner product of two halves over the mean square of one: in [-1, 1]; NaN for one image. It needs no
        halves: of n images both follow from the inner products between images, summed over all pairs, and the squares.
        """
        squares, n = self.sums["together"], self.sums["images"]
        between = (np.nan_to_num(self.total) ** 2).sum(axis=-1) - squares
        with np.errstate(invalid="ignore", divide="ignore"):
            across = between * n / (4 * (n - 1))
            found = across / (squares / 2 + between * (n - 2) / (4 * (n - 1)))
        return np.where(self._moved() & (n > 1), np.clip(found, -1.0, 1.0), np.nan)

    def cross_share(self) -> Values:
        """Mean cosine distance of views from their own originals over that from the originals of other images `[A]`.

        NaN for one image, and where originals and views are all alike.
        """
        sums, counts = self.sums, self.sums["counts"]
        own = sums["squares"] / 2  # 1 - cos of unit vectors is half the square of their distance
        others = counts * (sums["count"] - 1)
        views = sums["shifts"] + self.draws * sums["originals"] - sums.get("lost", 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            cross = 1 - (views @ sums["originals"] - (counts - own)) / others
            return np.where((others > 0) & (cross > STILL), own / counts / cross, np.nan)

    def _over_lengths(self, values: Values) -> Values:
        moved = self._moved()
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(moved, values / self.sums["lengths"], np.nan)

    def _moved(self) -> NDArray[np.bool_]:
        return np.asarray(self.sums["squares"] > STILL * self.sums["counts"])


def cosines(first: ArrayLike, second: ArrayLike) -> Values:
    """Cosines between vectors `[A, D]` and vectors `[B, D]`, float64 `[A, B]`; NaN where one is NaN or zero.

    Example:
        >>> cosines([[1.0, 0.0], [0.0, 2.0]], [[0.0, 3.0]]).ravel().tolist()
        [0.0, 1.0]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in map(np.asarray, (first, second)))
        return np.asarray(np.clip(a @ b.T, -1.0, 1.0))


def cosines_of_shifts(cosine: ArrayLike, distances: ArrayLike) -> Values:
    r"""Cosine between the shifts of two views of one image, from the cosines of the three embeddings.

    .. math:: \cos(d_a, d_b) = \frac{(1 - c_a) + (1 - c_b) - d_{ab}}{\sqrt{(2 - 2 c_a)(2 - 2 c_b)}}

    Args:
        cosine: Between the original and each view `[..., A]`.
        distances: 1 - cosine between the views, pair by pair, in the order of the upper triangle `[..., P]`.

    Returns:
        float64 `[..., P]` in [-1, 1]; NaN where a view did not move, or has no direction.

    Example:
        >>> cosines_of_shifts([0.0, 0.0], [1.0]).round(3).item()
        0.5
    """
    far = 1 - np.asarray(cosine, np.float64)
    first, second = np.triu_indices(far.shape[-1], k=1)
    a, b = far[..., first], far[..., second]
    moved = (2 * a >= STILL) & (2 * b >= STILL)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (a + b - np.asarray(distances, np.float64)) / np.sqrt(4 * a * b)
    return np.where(moved, np.clip(found, -1.0, 1.0), np.nan)
