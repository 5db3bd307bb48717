"""What a built-in augmentation does to an image at a given strength, and where it moves and hides things."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Floats, Pixels, Values

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Geometry:
    """Where a view shows what of its original.

    Args:
        source: For every pixel of the view the place in the original that it shows, in pixels, x before y, float32
            `[S, S, 2]`; None = nothing is moved.
        hidden: The pixels that show something else, bool `[S, S]`; None = none.
    """

    source: Floats | None = None
    hidden: Mask | None = None

    def displacement(self) -> float:
        """Root mean square of the distance that the pixels were moved, over the side.

        Pixels whose source lies outside of the original are left out.

        Returns:
            0 where nothing is moved; NaN where the view shows no pixel of the original.

        Example:
            >>> across, down = np.meshgrid(np.arange(10.0), np.arange(10.0))
            >>> round(Geometry(np.stack([across + 2, down], axis=2).astype(np.float32)).displacement(), 3)
            0.2
        """
        if self.source is None:
            return 0.0
        side = len(self.source)
        moved = (self.source - grid(side))[inside(self.source)].astype(np.float64)
        return float(np.sqrt((moved**2).sum(axis=1).mean()) / side) if len(moved) else float("nan")

    def covered(self, side: int) -> float:
        """Share of the view's pixels that show something else than the original.

        Such are pixels that something covers, and pixels whose source lies outside of the original.

        Example:
            >>> Geometry(hidden=np.eye(4, dtype=bool)).covered(4)
            0.25
        """
        lost = np.zeros((side, side), bool) if self.hidden is None else self.hidden
        return float((lost if self.source is None else lost | ~inside(self.source)).mean())

    def then(self, after: "Geometry") -> "Geometry":
        """Where a view of this view shows what of the original.

        Example:
            >>> left = Geometry(grid(4) + np.float32([1, 0]))
            >>> left.then(left).displacement(), left.then(left).covered(4)
            (0.5, 0.5)
        """
        if after.source is None:
            return Geometry(self.source, _either(self.hidden, after.hidden))
        source, hidden = after.source, None
        if self.source is not None:
            moved = [after.move(self.source[..., axis].astype(np.float64)) for axis in (0, 1)]
            source = np.nan_to_num(np.stack(moved, axis=2), nan=np.inf, posinf=np.inf).astype(np.float32)
        if self.hidden is not None:
            hidden = after.move(self.hidden.astype(np.float64)) > 0.5  # what lies outside is lost by its source
        return Geometry(source, _either(hidden, after.hidden))

    def move(self, values: Values) -> Values:
        """`values` of the original's pixels `[S, S]`, moved as the view's pixels were; NaN where it shows none."""
        if self.source is None:
            return values
        moved = sampled(values, self.source, cv2.BORDER_REFLECT_101)
        return np.where(inside(self.source), moved, np.nan)


def _either(one: Mask | None, other: Mask | None) -> Mask | None:
    return other if one is None else one if other is None else one | other


def grid(side: int) -> Floats:
    """The place of every pixel, x before y, float32 `[S, S, 2]`.

    Example:
        >>> grid(2).tolist()
        [[[0.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 1.0]]]
    """
    line = np.arange(side, dtype=np.float32)
    return np.stack(np.meshgrid(line, line), axis=2)


def inside(source: Floats) -> Mask:
    """Which places lie inside of an image: half a pixel around the centres of its pixels, `[S, S, 2]` → `[S, S]`."""
    return np.asarray(((source > -0.5) & (source < len(source) - 0.5)).all(axis=2))


def sampled(values: Any, source: Floats, border: int) -> Any:
    """Values or pixels at some places, bilinearly."""
    # Across and down as two maps: with an empty second map, OpenCV 5.0 reads places from memory that is not its own.
    across, down = cv2.split(source)
    return cv2.remap(values, across, down, cv2.INTER_LINEAR, borderMode=border)


class Change:
    """Changes an image by a parameter; without `geometry` of its own it moves and hides nothing."""

    def __call__(self, image: Pixels, parameter: float, rng: np.random.Generator) -> Pixels:
        """The view of `image` uint8 `[S, S, 3]`, decided by the parameter and what is drawn from `rng`."""
        raise NotImplementedError

    def geometry(self, side: int, parameter: float, rng: np.random.Generator) -> Geometry | None:
        """Where the view that is drawn from an equal `rng` shows what; None = it cannot be known."""
        return Geometry()


@dataclass(frozen=True)
class Tones(Change):
    """A change of colours, of sharpness, or by noise: nothing is moved.

    Args:
        draw: `(image, parameter, rng) -> view`.
    """

    draw: Callable[[Pixels, float, np.random.Generator], Pixels]

    def __call__(self, image: Pixels, parameter: float, rng: np.random.Generator) -> Pixels:
        """The view."""
        return self.draw(image, parameter, rng)


@dataclass(frozen=True)
class Warp(Change):
    """A change of places, sampled bilinearly.

    Args:
        source: `(side, parameter, rng)` → for every pixel of the view its place in the original, as `Geometry.source`.
        border: What lies outside of the original: OpenCV's number.
    """

    source: Callable[[int, float, np.random.Generator], Floats]
    border: int = cv2.BORDER_REFLECT_101

    def __call__(self, image: Pixels, parameter: float, rng: np.random.Generator) -> Pixels:
        """The view."""
        source = self.source(len(image), parameter, rng)
        return np.asarray(sampled(image, source, self.border), np.uint8)

    def geometry(self, side: int, parameter: float, rng: np.random.Generator) -> Geometry:
        """The places that the view shows."""
        return Geometry(self.source(side, parameter, rng))


@dataclass(frozen=True)
class Cover(Change):
    """A change that covers a part of the image.

    Args:
        mask: `(side, parameter, rng)` → the pixels to cover, bool `[S, S]`; drawn before what covers them.
        fill: `(image, rng)` → what covers them, uint8 `[S, S, 3]`; the same at every strength.
    """

    mask: Callable[[int, float, np.random.Generator], Mask]
    fill: Callable[[Pixels, np.random.Generator], Pixels]

    def __call__(self, image: Pixels, parameter: float, rng: np.random.Generator) -> Pixels:
        """The view."""
        hidden = self.mask(len(image), parameter, rng)
        return np.where(hidden[..., None], self.fill(image, rng), image)

    def geometry(self, side: int, parameter: float, rng: np.random.Generator) -> Geometry:
        """The pixels that are covered."""
        return Geometry(hidden=self.mask(side, parameter, rng))


@dataclass(frozen=True)
class Graded:
    """A change at one strength: a callable `(image, rng) -> view`, as augmentations are.

    Args:
        change: What is done.
        parameter: How strongly.
    """

    change: Change
    parameter: float

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        """The view."""
        return self.change(image, self.parameter, rng)

    def geometry(self, side: int, rng: np.random.Generator) -> Geometry | None:
        """Where the view that is drawn from an equal `rng` shows what; None = it cannot be known."""
        return self.change.geometry(side, self.parameter, rng)
