"""Changes of a given strength, and their geometry: the pixels that they move and hide."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedshift.arrays import Floats, Pixels, Values
from embedshift.config import Json
from embedshift.registry.extras import cv2

# OpenCV's BORDER_CONSTANT and BORDER_REFLECT_101, which families are declared with: without its import.
BLACK, MIRRORED = 0, 4

Mask = NDArray[np.bool_]
# Height and width in pixels, or the side of a square.
Sides = int | tuple[int, int]


def sides(of: Sides) -> tuple[int, int]:
    return (of, of) if isinstance(of, int) else of


def shorter(of: Sides) -> int:
    return min(sides(of))


def size_of(image: NDArray[Any]) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


@dataclass(frozen=True)
class Geometry:
    source: Floats | None = None
    hidden: Mask | None = None

    def displacement(self) -> float:
        """Returns the root mean square displacement of pixels, as a fraction of the side."""
        if self.source is None:
            return 0.0
        size = size_of(self.source)
        moved = (self.source - grid(size))[inside(self.source)].astype(np.float64)
        return float(np.sqrt((moved**2).sum(axis=1).mean()) / shorter(size)) if len(moved) else float("nan")

    def covered(self, of: Sides) -> float:
        """Returns the fraction of the view's pixels that do not show the original."""
        hidden = np.zeros(sides(of), bool) if self.hidden is None else self.hidden
        return float((hidden if self.source is None else hidden | ~inside(self.source)).mean())

    def then(self, after: "Geometry") -> "Geometry":
        if after.source is None:
            return Geometry(self.source, _union(self.hidden, after.hidden))
        source, hidden = after.source, None
        if self.source is not None:
            moved = [after.move(self.source[..., axis].astype(np.float64)) for axis in (0, 1)]
            source = np.nan_to_num(np.stack(moved, axis=2), nan=np.inf, posinf=np.inf).astype(np.float32)
        if self.hidden is not None:
            hidden = after.move(self.hidden.astype(np.float64)) > 0.5  # marks places outside
        return Geometry(source, _union(hidden, after.hidden))

    def move(self, values: Values) -> Values:
        """Moves values of the original's pixels, `[H, W]` or `[H, W, C]`; NaN where the view hides the original."""
        if self.source is None:
            return values
        shown = inside(self.source, size_of(values))
        # OpenCV reflects step by step and never returns from an infinite place.
        near = np.where(shown[..., None], self.source, np.float32(0))
        moved = np.asarray(sampled(values, near, MIRRORED))
        moved[~shown] = np.nan
        return moved


def _union(first: Mask | None, second: Mask | None) -> Mask | None:
    return second if first is None else first if second is None else first | second


def grid(of: Sides) -> Floats:
    """Returns the place of every pixel, x before y, float32 `[H, W, 2]`."""
    height, width = sides(of)
    return np.stack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)), axis=2)


def inside(source: Floats, of: Sides | None = None) -> Mask:
    """Returns which places lie in an image, to half a pixel beyond pixel centres; None if none has a number."""
    height, width = size_of(source) if of is None else sides(of)
    return np.asarray(((source > -0.5) & (source < np.array([width, height], np.float32) - 0.5)).all(axis=2))


def sampled(values: Any, source: Floats, border: int) -> Any:
    # Two maps: with an empty second map, OpenCV 5.0 reads foreign memory.
    across, down = cv2.split(source)
    return cv2.remap(values, across, down, cv2.INTER_LINEAR, borderMode=border)


def recompressed(image: Pixels, quality: float) -> Pixels:
    """Writes the image as JPEG with Pillow, and reads it again."""
    Image.fromarray(image).save(content := io.BytesIO(), "JPEG", quality=int(quality))
    return np.asarray(Image.open(content))


Places = Callable[[Sides, float, np.random.Generator], Floats]


class Change:
    """A change with a parameter; without `source` (the places that a view shows) it moves and hides nothing."""

    source: Places | None = None

    def __call__(self, image: Pixels, parameter: float, rng: np.random.Generator) -> Pixels:
        """Returns the view of `image` uint8 `[H, W, 3]` for a parameter and an `rng`."""
        raise NotImplementedError

    def geometry(self, of: Sides, parameter: float, rng: np.random.Generator) -> Geometry:
        return Geometry() if self.source is None else Geometry(self.source(of, parameter, rng))


@dataclass(frozen=True)
class Tones(Change):
    """A change of colours or sharpness, or noise; `source` gives other places, or means over several."""

    draw: Callable[[Pixels, float, np.random.Generator], Pixels]
    source: Places | None = None

    def __call__(self, image: Pixels, parameter: float, rng: np.random.Generator) -> Pixels:
        return self.draw(image, parameter, rng)


@dataclass(frozen=True)
class Warp(Change):
    source: Places
    border: int = MIRRORED

    def __call__(self, image: Pixels, parameter: float, rng: np.random.Generator) -> Pixels:
        source = self.source(size_of(image), parameter, rng)
        return np.asarray(sampled(image, source, self.border), np.uint8)


@dataclass(frozen=True)
class Cover(Change):
    mask: Callable[[Sides, float, np.random.Generator], Mask]
    fill: Callable[[Pixels, np.random.Generator], Pixels]

    def __call__(self, image: Pixels, parameter: float, rng: np.random.Generator) -> Pixels:
        hidden = self.mask(size_of(image), parameter, rng)
        return np.where(hidden[..., None], self.fill(image, rng), image)

    def geometry(self, of: Sides, parameter: float, rng: np.random.Generator) -> Geometry:
        return Geometry(hidden=self.mask(of, parameter, rng))


class Traceable:
    """A callable `(image, rng) -> view` with a known geometry."""

    def geometry(self, image: Pixels, rng: np.random.Generator) -> Geometry | None:
        """Returns the geometry of the view that an equal `rng` draws; None = unknown."""
        raise NotImplementedError

    def describe(self) -> Json | None:
        """Returns a description as JSON; None = name and version of its augmentation."""
        return None


@dataclass(frozen=True)
class ChangeAt(Traceable):
    change: Change
    parameter: float

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        return self.change(image, self.parameter, rng)

    def geometry(self, image: Pixels, rng: np.random.Generator) -> Geometry | None:
        return self.change.geometry(size_of(image), self.parameter, rng)
