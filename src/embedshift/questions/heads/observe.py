"""Runs beside the encoder: splits each view's shift over the parts of the encoder."""

import copy
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from embedshift.arrays import Floats, Values
from embedshift.encoders.base import Encoder, EncoderOutput
from embedshift.encoders.dissection.anatomy import Anatomy
from embedshift.encoders.dissection.heads import unpacked
from embedshift.encoders.dissection.parts import Parts
from embedshift.encoders.dissection.readout import noise
from embedshift.encoders.dissection.route import put_back, route
from embedshift.encoders.dissection.split import HeadContributions, parts_of, split
from embedshift.encoders.dissection.tokens import by_tokens
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.spec import EncoderSpec
from embedshift.errors import UsageError
from embedshift.pipeline.draw import DrawnImage
from embedshift.pipeline.measure import Observer
from embedshift.questions.heads.bank import bank_and_space
from embedshift.questions.heads.measure import MEASURE
from embedshift.sources import ImageRef

log = logging.getLogger(__name__)

# Views whose parts are in memory at once, where those of all tokens are needed.
TOGETHER = 8
ROUTED_TOGETHER = 4


class OBSERVER(Observer):
    """The anatomy of the encoder, and the split that it allows."""

    def __init__(self, spec: EncoderSpec, encoder: Encoder) -> None:
        super().__init__(spec, encoder)
        if not isinstance(encoder, ModuleEncoder):
            raise UsageError(
                f"{encoder.name} is not a torch module, so its heads cannot be measured; run without `heads`"
            )
        self.anatomy = Anatomy(encoder.tower)
        self.device = encoder.device

    def prepare(self, measure: MEASURE) -> MEASURE:
        """Adds the numbers of layers and heads."""
        made = copy.copy(measure)
        made.layers, made.heads = len(self.anatomy.layers), self.anatomy.heads
        if measure.settings.heads_detail == "route":
            images = noise(2, self.encoder.size)
            try:
                route(self.anatomy, images[:1], images[1:])
            except UsageError as error:
                raise UsageError(f"{self.encoder.name} {error}") from error
        made.cells = self.encoder.grid[0] * self.encoder.grid[1] if self.encoder.grid else 0
        try:
            made.bank, made.space = bank_and_space(self.spec, self.encoder, self.anatomy, measure.settings.bank)
        except UsageError as error:
            if measure.settings.bank is not None:
                raise UsageError(f"`bank`: {error}") from error
            log.info("no texts for heads: %s", error)
        return made

    def begin(self, measure: MEASURE, samples: Sequence[ImageRef]) -> MEASURE:
        """Adds whether this shard keeps the texts."""
        made = copy.copy(measure)
        made.opens = any(sample.image_id == measure.first for sample in samples)
        return made

    def of_image(self, measure: MEASURE, image: DrawnImage, output: EncoderOutput) -> Mapping[str, Values]:
        """Returns the contributions of each view's shift."""
        found = _joined(_columns(split(self.anatomy, *pair)) for pair in self._pairs(image, output.observed["heads"]))
        if measure.settings.heads_detail != "route" or image.sample.image_id in measure.routed:
            found |= self._detail(measure, image)
        return found

    def seconds(self, measure: MEASURE, image: DrawnImage) -> float:
        """Returns the seconds for the detail of one image times the number of images that get any."""
        if not measure.detailed:
            return 0.0
        started = time.perf_counter()
        self._detail(measure, image)
        return (time.perf_counter() - started) * measure.detailed

    def _detail(self, measure: MEASURE, image: DrawnImage) -> dict[str, Values]:
        match measure.settings.heads_detail:
            case "tokens":
                return _joined(self._tokens(measure.cells, *pair) for pair in _pixels(image, TOGETHER))
            case "route":
                return _joined(self._route(*pair) for pair in _pixels(image, ROUTED_TOGETHER))
            case None:
                return {}

    def _tokens(self, cells: int, original: Tensor, views: Tensor) -> dict[str, Tensor]:
        """Returns what the last block's attention carries by class and register tokens together, then by each patch."""
        found = by_tokens(self.anatomy, original, views)
        terms = {"tokens_pattern": found.pattern, "tokens_values": found.values}
        # Not -cells, which is all where there are none.
        start = found.pattern.shape[1] - cells
        return {
            name: torch.cat([each[:, :start].sum(dim=1, keepdim=True), each[:, start:]], dim=1)
            for name, each in terms.items()
        }

    def _route(self, original: Tensor, views: Tensor) -> dict[str, Tensor]:
        """Returns the route of each shift, and the effect of each head of the last block."""
        found = route(self.anatomy, original, views)
        back = torch.stack([put_back(self.anatomy, original, view[None]) for view in views])
        terms = {"route": found.patterns.flatten(1), "route_input": found.input, "route_pooling": found.pooling}
        return {**terms, "put_back": back}

    def _pairs(self, image: DrawnImage, kept: Floats) -> Iterator[tuple[Sequence[Parts], Sequence[Parts]]]:
        """Yields the parts of the original and of some views; by separate passes if the study kept none."""
        if kept.shape[1]:
            rows = torch.from_numpy(np.ascontiguousarray(kept)).to(self.device)
            yield unpacked(self.anatomy, rows[:1]), unpacked(self.anatomy, rows[1:])
            return
        original: list[Parts] = []
        for pixels, views in _pixels(image, TOGETHER):
            original = original or parts_of(self.anatomy, pixels)
            yield original, parts_of(self.anatomy, views)


def _pixels(image: DrawnImage, together: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields the original and `together` of its views as an encoder's pixels, float32 `[B, 3, S, S]`."""
    pixels = torch.from_numpy(np.ascontiguousarray(image.views)).permute(0, 3, 1, 2)
    for start in range(1, len(pixels), together):
        yield pixels[:1].float(), pixels[start : start + together].float()


def _joined(parts: Iterable[dict[str, Tensor]]) -> dict[str, Values]:
    """Concatenates columns of several parts of the views."""
    found = list(parts)
    return {name: torch.cat([each[name] for each in found]).cpu().numpy() for name in found[0]}


def _columns(contributions: HeadContributions) -> dict[str, Tensor]:
    numbers = {
        "head_input": contributions.input,
        "head_pattern": contributions.pattern,
        "head_rest": contributions.rest,
    }
    return {"heads": contributions.heads.flatten(1), "mlps": contributions.mlps, **numbers}
