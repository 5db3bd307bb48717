"""Metrics layer by layer: how far the output of each block moves, for single images and for the set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Values
from embedshift.config import Json
from embedshift.pipeline.measure import Column, Measure, StudyPlan, Sums
from embedshift.questions.layers import COMPARED, TOKENS, column
from embedshift.statistics import vectors
from embedshift.statistics.agreement import LEAST_MINIBATCH, gram_matrices, gram_terms

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.drawn import DrawnImage

FUNCTIONS = dict(zip(COMPARED, (vectors.cosine, vectors.distance), strict=True))
# Images of one minibatch: the vectors of all their views are in memory at once.
MINIBATCH = 64


def shift(layers: ArrayLike) -> dict[str, Values]:
    states = np.asarray(layers)
    return {
        column(metric, token): function(states[:1, :, index], states[1:, :, index])
        for index, token in enumerate(TOKENS[-states.shape[2] :])
        for metric, function in FUNCTIONS.items()
    }


@dataclass
class CkaSums(Sums):
    """Terms of CKA, summed over minibatches of images; memory holds one minibatch."""

    draws: int
    images: int = 0
    sums: Values = field(default_factory=lambda: np.zeros(()))
    _waiting: list[NDArray[Any]] = field(default_factory=list)

    def add(self, image: "DrawnImage", output: "EncoderOutput") -> None:
        if output.layers is not None and np.isfinite(output.layers).all():
            self._waiting.append(output.layers)
        if len(self._waiting) == MINIBATCH:
            self._close_minibatch()

    def close(self) -> Mapping[str, Values]:
        """Returns `images`, the number in the terms, and `terms` `[A, T, L, 3]`; empty if there are too few images."""
        self._close_minibatch()
        return {"images": np.array(float(self.images)), "terms": self.sums} if self.images else {}

    def _close_minibatch(self) -> None:
        count, depth = len(self._waiting), self._waiting[0].shape[1] if self._waiting else 0
        if count >= LEAST_MINIBATCH:
            # [views, m, T * L, W]: the formula treats tokens and layers alike.
            states = np.stack(self._waiting, axis=1).swapaxes(2, 3)
            states = states.reshape(*states.shape[:2], -1, states.shape[-1])
            original, *views = map(gram_matrices, states)
            terms = np.stack([gram_terms(original, view) for view in views])
            by_draw = terms.reshape(self.draws, -1, terms.shape[1] // depth, depth, 3)
            self.sums = self.sums + count * by_draw.sum(axis=0)
            self.images += count
        self._waiting = []


class MEASURE(Measure):
    @property
    def observations(self) -> Sequence[str]:
        return ("layers",)

    def columns(self, probe: "EncoderOutput | None") -> Sequence[Column]:
        assert probe is not None
        assert probe.layers is not None
        _, depth, tokens, _ = probe.layers.shape
        return [Column(column(name, token), depth) for token in TOKENS[-tokens:] for name in FUNCTIONS]

    def of_output(self, image: "DrawnImage", output: "EncoderOutput", plan: StudyPlan) -> dict[str, Values]:
        return {} if output.layers is None else shift(output.layers)

    def sums(self, plan: StudyPlan) -> Mapping[str, Sums]:
        return {"cka": CkaSums(plan.config.draws)}

    def identity(self) -> Json:
        return {"layers": True}
