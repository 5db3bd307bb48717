"""`Everyday`: a change of an image of any size, whose numbers are drawn within ranges."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from embedshift.arrays import Floats, Pixels
from embedshift.augmentations.changes import Geometry, Traceable, sampled
from embedshift.augmentations.ranges import Drawn, Numbers, Range, drawn
from embedshift.config import Json

# Height and width.
Shape = tuple[int, int]


@dataclass(frozen=True)
class Everyday(Traceable):
    """A change by numbers that are drawn first, so that an equal `rng` draws equal ones for view and geometry.

    Args:
        change: Returns the view of an image by its numbers; None = the image is sampled at the places of `where`.
        numbers: The numbers and their ranges.
        where: Returns the geometry of a view of a shape by its numbers; None = nothing is moved or hidden.
    """

    change: Callable[[Pixels, Any, np.random.Generator], Pixels] | None
    numbers: Numbers = field(default_factory=dict)
    where: Callable[[Shape, Any], Geometry] | None = None

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        numbers = self.parameters(rng)
        if self.change is not None:
            return self.change(image, numbers, rng)
        assert self.where is not None
        return moved(image, self.where(shape(image), numbers))

    def parameters(self, rng: np.random.Generator) -> Drawn:
        """Returns the numbers of the view that an equal `rng` draws."""
        return drawn(self.numbers, rng)

    def geometry(self, image: Pixels, rng: np.random.Generator) -> Geometry:
        """Returns the geometry of the view that an equal `rng` draws."""
        return Geometry() if self.where is None else self.where(shape(image), self.parameters(rng))

    def record(self) -> Json:
        """Returns the ranges as JSON, for the description of the study."""
        return {
            "numbers": {
                name: list(entry) if isinstance(entry, Range) else list(entry.values)
                for name, entry in self.numbers.items()
            }
        }


def shape(image: Pixels) -> Shape:
    return image.shape[0], image.shape[1]


def moved(image: Pixels, geometry: Geometry) -> Pixels:
    """Returns the image sampled at the places of a geometry; beyond its border it is reflected."""
    assert geometry.source is not None
    return np.asarray(sampled(image, geometry.source, cv2.BORDER_REFLECT_101), np.uint8)


def places(size: Shape, matrix: Any) -> Floats:
    """Returns the places `[H, W, 2]`, x before y, that a matrix `[2, 3]` or `[3, 3]` gives for every pixel."""
    height, width = size
    grid = np.stack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)), axis=2)
    change = cv2.transform if len(matrix) == 2 else cv2.perspectiveTransform
    return np.asarray(change(grid, np.asarray(matrix, np.float64)), np.float32)
