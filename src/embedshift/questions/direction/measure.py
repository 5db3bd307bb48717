"""The direction in which the embedding moves, by sums over images; shifts are of embeddings scaled to length 1."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from embedshift.arrays import Floats, Values
from embedshift.pipeline.measure import Measure, StudyPlan, Sums
from embedshift.questions.direction.shifts import added, image_sums

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.drawn import DrawnImage


# Images whose sums are made at once.
TOGETHER = 64


class ShiftSums(Sums):
    """Sums of shifts and of unit vectors; memory and file hold one vector per augmentation."""

    def __init__(self, augmentations: int, draws: int) -> None:
        self._shape, self._sums = (draws, augmentations), dict[str, Values]()
        self._waiting: list[Floats] = []

    def add(self, image: "DrawnImage", output: "EncoderOutput") -> None:
        self._waiting.append(output.embedding)
        if len(self._waiting) == TOGETHER:
            self._add_waiting()

    def _add_waiting(self) -> None:
        if self._waiting:
            self._sums = added(self._sums, image_sums(np.stack(self._waiting), self._shape))
            self._waiting = []

    def close(self) -> Mapping[str, Values]:
        self._add_waiting()
        small: dict[str, Any] = {"shifts": self._sums["shifts"].astype(np.float32)} if self._sums else {}
        return self._sums | small


class MEASURE(Measure):
    def sums(self, plan: StudyPlan) -> Mapping[str, Sums]:
        return {"shifts": ShiftSums(len(plan.suite.names), plan.config.draws)}
