"""The direction in which the embedding moves: sums over images, from which cosines of mean shifts are computed.

In this question a shift is the embedding of a view minus that of its original, both scaled to length 1.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from embedshift.arrays import Values
from embedshift.pipeline.measure import Measure, Sums
from embedshift.statistics.vectors import unit

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.draw import DrawnImage
    from embedshift.pipeline.plan import Plan


class ShiftSums(Sums):
    """Sums of shifts and of unit vectors; memory and file hold one vector per augmentation."""

    def __init__(self, augmentations: int, draws: int) -> None:
        self._shape, self._sums = (draws, augmentations), dict[str, Values]()

    def add(self, image: "DrawnImage", output: "EncoderOutput") -> None:
        """Adds an image, by its embeddings."""
        self.add_embedding(output.embedding)

    def add_embedding(self, embedding: ArrayLike) -> None:
        """Adds an image: `[1 + A * draws, D]`, the original first, then draw by draw."""
        vectors = unit(embedding)
        original, views = vectors[0], vectors[1:].reshape(*self._shape, -1)
        if not np.isfinite(original).all():
            return
        there = np.asarray(np.isfinite(views).all(axis=-1))
        shifts = views - original
        shifts[~there] = 0.0
        of_image, lengths = shifts.sum(axis=0), np.linalg.norm(shifts, axis=-1)
        found = {
            "count": np.ones(()),
            "originals": original,
            "shifts": of_image,
            "images": there.any(axis=0).astype(np.float64),
            "counts": there.sum(axis=0, dtype=np.float64),
            "lengths": lengths.sum(axis=0),
            "squares": (lengths**2).sum(axis=0),
            "together": (of_image**2).sum(axis=-1),
            **({} if there.all() else {"lost": (~there).sum(axis=0)[:, None] * original}),
        }
        for name, array in found.items():
            self._sums[name] = array + self._sums[name] if name in self._sums else array

    def close(self) -> Mapping[str, Values]:
        """Returns the sums; empty if no image has a direction."""
        small: dict[str, Any] = {"shifts": self._sums["shifts"].astype(np.float32)} if self._sums else {}
        return self._sums | small


class MEASURE(Measure):
    """The sums of shifts; rows need no column for them."""

    def sums(self, plan: "Plan") -> Mapping[str, Sums]:
        """Returns new sums for one shard."""
        return {"shifts": ShiftSums(len(plan.suite.names), plan.config.draws)}
