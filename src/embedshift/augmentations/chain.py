"""`Chain`: several augmentations applied one after the other, drawn as one."""

from dataclasses import dataclass

import numpy as np

from embedshift.arrays import Pixels
from embedshift.augmentations.augmentation import Augmentation
from embedshift.augmentations.changes import Geometry, Traceable
from embedshift.config import Json


@dataclass(frozen=True)
class Chain(Traceable):
    """Augmentations applied one after the other."""

    steps: tuple[Augmentation, ...]

    @property
    def description(self) -> str:
        return ", then ".join(step.description for step in self.steps)

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        for step, seed in zip(self.steps, self._seeds(rng), strict=True):
            image = step.draw(image, seed)
        return image

    def geometry(self, image: Pixels, rng: np.random.Generator) -> Geometry | None:
        """Returns the geometry of the view that an equal `rng` draws; None if that of one step is unknown."""
        geometry = Geometry()
        for step, seed in zip(self.steps, self._seeds(rng), strict=True):
            after = step.geometry(image, seed)
            if after is None:
                return None
            geometry, image = geometry.then(after), step.draw(image, seed)
        return geometry

    def describe(self) -> Json:
        return {"steps": [{"name": step.name, **step.describe()} for step in self.steps]}

    def _seeds(self, rng: np.random.Generator) -> list[int]:
        return [int(rng.integers(2**32)) for _ in self.steps]
