"""Beside the encoder: each view's shift is split over the parts of the encoder."""

import copy
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from embedshift.arrays import Floats, Pixels, Values
from embedshift.encoders.base import Encoder, EncoderOutput
from embedshift.encoders.dissection.anatomy import Anatomy
from embedshift.encoders.dissection.heads import unpacked
from embedshift.encoders.dissection.parts import Parts
from embedshift.encoders.dissection.split import Shares, parts_of, split
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.spec import EncoderSpec
from embedshift.errors import UsageError
from embedshift.pipeline.draw import DrawnImage
from embedshift.pipeline.measure import Observer
from embedshift.questions.heads.measure import MEASURE

# Views whose parts are in memory at once, where those of all tokens are needed.
TOGETHER = 8


class OBSERVER(Observer):
    """The anatomy of the encoder, and the split by it."""

    def __init__(self, spec: EncoderSpec, encoder: Encoder) -> None:
        super().__init__(spec, encoder)
        if not isinstance(encoder, ModuleEncoder):
            raise UsageError(f"{encoder.name} is no torch module that can be looked into; run without `heads`")
        self.anatomy = Anatomy(encoder.tower)
        self.device = encoder.device

    def prepare(self, measure: MEASURE) -> MEASURE:
        """How many layers and heads there are."""
        made = copy.copy(measure)
        made.layers, made.heads = len(self.anatomy.layers), self.anatomy.heads
        return made

    def of_image(self, measure: MEASURE, image: DrawnImage, output: EncoderOutput) -> Mapping[str, Values]:
        """The shares of each view's shift."""
        found = [_columns(split(self.anatomy, *pair)) for pair in self._pairs(image, output.observed["heads"])]
        return {name: torch.cat([each[name] for each in found]).cpu().numpy() for name in found[0]}

    def _pairs(self, image: DrawnImage, kept: Floats) -> Iterator[tuple[Sequence[Parts], Sequence[Parts]]]:
        """The parts of the original, and of some of its views; by passes of their own where the study kept none."""
        if kept.shape[1]:
            rows = torch.from_numpy(np.ascontiguousarray(kept)).to(self.device)
            yield unpacked(self.anatomy, rows[:1]), unpacked(self.anatomy, rows[1:])
            return
        original = parts_of(self.anatomy, pixels_of(image.views[:1]))
        for start in range(1, len(image.views), TOGETHER):
            yield original, parts_of(self.anatomy, pixels_of(image.views[start : start + TOGETHER]))


def pixels_of(views: Pixels) -> Tensor:
    """Views uint8 `[B, S, S, 3]` as an encoder's own pixels, float32 `[B, 3, S, S]`."""
    return torch.from_numpy(np.ascontiguousarray(views)).permute(0, 3, 1, 2).float()


def _columns(shares: Shares) -> dict[str, Tensor]:
    numbers = {"head_input": shares.input, "head_pattern": shares.pattern, "head_rest": shares.rest}
    return {"heads": shares.heads.flatten(1), "mlps": shares.mlps, **numbers}
