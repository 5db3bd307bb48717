"""`Chain`: several augmentations applied one after the other, drawn as one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations.changes import Geometry
from embedshift.config import Json

if TYPE_CHECKING:
    from embedshift.augmentations.augmentation import Augmentation


@dataclass(frozen=True)
class Chain:
    """Augmentations applied one after the other: a callable `(image, rng) -> view`."""

    steps: "tuple[Augmentation, ...]"

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        """Draws the view."""
        for step, seed in zip(self.steps, self._seeds(rng), strict=True):
            image = step.draw(image, seed)
        return image

    def geometry(self, image: Pixels, rng: np.random.Generator) -> Geometry | None:
        """Returns the geometry of the view that an equal `rng` draws; None if that of one step is unknown."""
        found = Geometry()
        for step, seed in zip(self.steps, self._seeds(rng), strict=True):
            after = step.geometry(image, seed)
            if after is None:
                return None
            found, image = found.then(after), step.draw(image, seed)
        return found

    def describe(self) -> Json:
        """Returns the steps as JSON."""
        return {"steps": [{"name": step.name, **step.describe()} for step in self.steps]}

    def _seeds(self, rng: np.random.Generator) -> list[int]:
        return [int(rng.integers(2**32)) for _ in self.steps]
