"""How far the views of one image lie from each other."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from embedshift.arrays import Values
from embedshift.pipeline.measure import Asked, Column, Measure
from embedshift.statistics.vectors import pairwise_cosine_distances

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.draw import DrawnImage
    from embedshift.pipeline.plan import Plan


class MEASURE(Measure):
    """The cosine distance of every pair of augmentations, draw by draw."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self._pairs = math.comb(len(asked.suite.names), 2) * asked.config.draws

    def columns(self, probe: "EncoderOutput | None") -> Sequence[Column]:
        """One list for the original's row."""
        return [Column("pairwise", self._pairs, of="original")]

    def of_output(self, image: "DrawnImage", output: "EncoderOutput", plan: "Plan") -> dict[str, Values]:
        """Of the embeddings of the augmented views."""
        views = output.embedding[1:].reshape(plan.config.draws, len(plan.suite.names), -1)
        return {"pairwise": pairwise_cosine_distances(views)}
