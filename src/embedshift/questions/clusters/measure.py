"""Distances between the views of one image."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from embedshift.arrays import Values
from embedshift.config import Json
from embedshift.pipeline.measure import Column, Measure, StudyPlan, StudySwitches
from embedshift.statistics.vectors import MOST_AUGMENTATIONS, pairwise_cosine_distances

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.drawn import DrawnImage


class MEASURE(Measure):
    """The cosine distance of every pair of augmentations, draw by draw; nothing if there are too many pairs."""

    def __init__(self, study: StudySwitches) -> None:
        super().__init__(study)
        count = len(study.suite.names)
        self._compares_all = count <= MOST_AUGMENTATIONS
        self._length = math.comb(count, 2) * study.config.draws

    def columns(self, probe: "EncoderOutput | None") -> Sequence[Column]:
        return [Column("pairwise", self._length, of="original")] if self._compares_all else []

    def of_output(self, image: "DrawnImage", output: "EncoderOutput", plan: StudyPlan) -> dict[str, Values]:
        if not self._compares_all:
            return {}
        views = output.embedding[1:].reshape(plan.config.draws, len(plan.suite.names), -1)
        return {"pairwise": pairwise_cosine_distances(views)}

    def identity(self) -> Json:
        return {} if self._compares_all else {"pairwise": False}
