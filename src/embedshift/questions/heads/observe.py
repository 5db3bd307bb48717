"""Runs beside the encoder: splits each view's shift over its parts, and encodes the texts that name heads."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from embedshift.arrays import Floats, Values
from embedshift.encoders.base import Encoder, EncoderOutput, TokenizerError
from embedshift.encoders.dissection import (
    HeadContributions,
    block_parts,
    head_matrices,
    split,
    token_contributions,
    unpack,
)
from embedshift.encoders.dissection.anatomy import Anatomy, Parts
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.spec import EncoderSpec
from embedshift.encoders.text import default_bank
from embedshift.errors import UsageError
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.measure import Observer
from embedshift.questions.heads import HEADS, MLPS, SINGLE
from embedshift.questions.heads.measure import MEASURE, WordSpace
from embedshift.questions.heads.tables import LAST_BLOCKS
from embedshift.sources import ImageRef
from embedshift.sources.bank import read_bank
from embedshift.statistics.vectors import normalised


def bank_and_space(observer: Observer, anatomy: Anatomy, file: str | None) -> tuple[tuple[str, ...], WordSpace]:
    texts = default_bank() if file is None else read_bank(file)
    blocks = range(max(0, len(anatomy.layers) - LAST_BLOCKS), len(anatomy.layers))
    try:
        matrices = [matrix.cpu() for matrix in head_matrices(anatomy, blocks)]
    except UsageError as error:
        raise UsageError(f"{observer.encoder.name} {error}: its heads cannot be described") from error
    vectors = torch.from_numpy(normalised(observer.text_vectors(texts)))
    decompositions = [torch.linalg.qr(matrix) for matrix in matrices]
    bases = torch.stack([triangle for _, triangle in decompositions])
    coordinates = torch.stack([vectors @ orthonormal for orthonormal, _ in decompositions])
    sizes = [(layer.weight.shape[0], layer.weight.shape[1]) for layer in anatomy.layers]
    return texts, WordSpace(sizes, bases.float().numpy(), np.asarray(coordinates, np.float32))


log = logging.getLogger(__name__)

# Views whose parts are in memory at once where all tokens are needed.
TOGETHER = 8


class OBSERVER(Observer):
    def __init__(self, spec: EncoderSpec, encoder: Encoder) -> None:
        super().__init__(spec, encoder)
        if not isinstance(encoder, ModuleEncoder):
            words = "is not a torch module, so its heads cannot be measured; run without `heads`"
            raise UsageError(f"{encoder.name} {words}")
        self.anatomy = Anatomy(encoder.tower)
        self.device = encoder.device
        self.cells = encoder.grid[0] * encoder.grid[1] if encoder.grid else 0

    def prepare(self, measure: MEASURE) -> MEASURE:
        prepared = measure.changed(layers=len(self.anatomy.layers), heads=self.anatomy.heads, cells=self.cells)
        try:
            bank, space = bank_and_space(self, self.anatomy, measure.bank_file)
        except (UsageError, TokenizerError) as error:
            if measure.bank_file is not None:
                raise UsageError(f"`bank`: {error}") from error
            # A model without a text tower never has words; one without its tokenizer may be an incomplete copy.
            level = logging.WARNING if isinstance(error, TokenizerError) else logging.INFO
            log.log(level, "no texts for heads: %s", error)
            return prepared
        return prepared.changed(bank=bank, space=space)

    def begin(self, measure: MEASURE, samples: Sequence[ImageRef]) -> MEASURE:
        """Returns the measure for one shard; that with the study's first image keeps the vectors of the texts."""
        return measure.changed(keeps_texts=any(sample.image_id == measure.first for sample in samples))

    def of_image(self, measure: MEASURE, image: DrawnImage, output: EncoderOutput) -> Mapping[str, Values]:
        pairs = self._pairs(image, output.observed["heads"])
        columns = _joined(_columns(split(self.anatomy, original, views)) for original, views in pairs)
        return columns | self._tokens(image) if measure.tokens else columns

    def seconds(self, measure: MEASURE, image: DrawnImage) -> float:
        if not measure.tokens:
            return 0.0
        started = time.perf_counter()
        self._tokens(image)
        return (time.perf_counter() - started) * measure.images

    def _tokens(self, image: DrawnImage) -> dict[str, Values]:
        return _joined(self._token_columns(original, views) for original, views in _pixels(image))

    def _token_columns(self, original: Tensor, views: Tensor) -> dict[str, Tensor]:
        contributions = token_contributions(self.anatomy, original, views)
        # Not -self.cells, which is all where there are none.
        start = contributions.pattern.shape[1] - self.cells
        return {
            name: torch.cat([tokens[:, :start].sum(dim=1, keepdim=True), tokens[:, start:]], dim=1)
            for name, tokens in (("tokens_pattern", contributions.pattern), ("tokens_values", contributions.values))
        }

    def _pairs(self, image: DrawnImage, observed: Floats) -> Iterator[tuple[Sequence[Parts], Sequence[Parts]]]:
        """Yields the parts of the original and of some views; by separate passes if the study kept none."""
        if observed.shape[1]:
            rows = torch.from_numpy(np.ascontiguousarray(observed)).to(self.device)
            yield unpack(self.anatomy, rows[:1]), unpack(self.anatomy, rows[1:])
            return
        original: list[Parts] = []
        for pixels, views in _pixels(image):
            original = original or block_parts(self.anatomy, pixels)
            yield original, block_parts(self.anatomy, views)


def _pixels(image: DrawnImage) -> Iterator[tuple[Tensor, Tensor]]:
    pixels = torch.from_numpy(np.ascontiguousarray(image.views)).permute(0, 3, 1, 2)
    for start in range(1, len(pixels), TOGETHER):
        yield pixels[:1].float(), pixels[start : start + TOGETHER].float()


def _joined(parts: Iterable[dict[str, Tensor]]) -> dict[str, Values]:
    columns = list(parts)
    return {name: torch.cat([part[name] for part in columns]).cpu().numpy() for name in columns[0]}


def _columns(contributions: HeadContributions) -> dict[str, Tensor]:
    numbers = {column: getattr(contributions, name) for name, column in SINGLE.items()}
    return {HEADS: contributions.heads.flatten(1), MLPS: contributions.mlps, **numbers}
