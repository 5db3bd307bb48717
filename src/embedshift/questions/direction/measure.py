"""The direction in which the embedding moves, by sums over images; shifts are of embeddings scaled to length 1."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from embedshift.arrays import Values
from embedshift.pipeline.measure import Measure, StudyPlan, Sums
from embedshift.questions.direction.shifts import added, image_sums

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.drawn import DrawnImage


class ShiftSums(Sums):
    """Sums of shifts and of unit vectors; memory and file hold one vector per augmentation."""

    def __init__(self, augmentations: int, draws: int) -> None:
        self._shape, self._sums = (draws, augmentations), dict[str, Values]()

    def add(self, image: "DrawnImage", output: "EncoderOutput") -> None:
        self._sums = added(self._sums, image_sums(output.embedding, self._shape))

    def close(self) -> Mapping[str, Values]:
        small: dict[str, Any] = {"shifts": self._sums["shifts"].astype(np.float32)} if self._sums else {}
        return self._sums | small


class MEASURE(Measure):
    def sums(self, plan: StudyPlan) -> Mapping[str, Sums]:
        return {"shifts": ShiftSums(len(plan.suite.names), plan.config.draws)}
