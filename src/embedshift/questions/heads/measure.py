"""The contributions of a view's shift that heads, feed-forward networks and input carry, received from the encoder."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.pipeline.measure import Column, Measure, StudySwitches, Sums
from embedshift.questions.heads import Switches
from embedshift.questions.heads.words import HeadMoments, WordSpace

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.plan import Plan
    from embedshift.sources import ImageRef


@dataclass(frozen=True, kw_only=True)
class EncoderHeads:
    """What the measure needs to know of the loaded encoder."""

    layers: int
    heads: int
    cells: int
    bank: tuple[str, ...] = ()
    space: WordSpace | None = None


class MEASURE(Measure):
    in_float32 = True

    def __init__(self, study: StudySwitches) -> None:
        super().__init__(study)
        config = study.config
        settings = config.of(Switches)
        if config.precision not in ("float32", "auto") or config.compile:
            given = "`compile`" if config.compile else f"`precision` {config.precision}"
            raise UsageError(f"`heads` splits a shift in float32, by torch's own passes; run it without {given}")
        self.tokens, self.bank_file = settings.heads_tokens, settings.bank
        self.images = len(study.samples)
        self.first = study.samples[0].image_id if study.samples else ""
        self.encoder: EncoderHeads | None = None
        self.keeps_texts = False

    def with_encoder(self, encoder: EncoderHeads) -> "MEASURE":
        measure = copy.copy(self)
        measure.encoder = encoder
        return measure

    def for_shard(self, samples: "Sequence[ImageRef]") -> "MEASURE":
        """Returns the measure for one shard; the shard with the study's first image keeps the vectors of the texts."""
        measure = copy.copy(self)
        measure.keeps_texts = any(sample.image_id == self.first for sample in samples)
        return measure

    @property
    def observations(self) -> Sequence[str]:
        """Requests what the parts of every block add."""
        return ("heads",)

    def columns(self, probe: "EncoderOutput | None") -> Sequence[Column]:
        """Returns the columns of contributions of a view's shift, which add up to 1."""
        assert self.encoder is not None, "the encoder is loaded before"
        lists = {"heads": self.encoder.layers * self.encoder.heads, "mlps": self.encoder.layers}
        numbers = ["head_input", "head_pattern", "head_rest"]
        if self.tokens:
            lists |= dict.fromkeys(("tokens_pattern", "tokens_values"), 1 + self.encoder.cells)
        return [*(Column(name, length) for name, length in lists.items()), *(Column(name, None) for name in numbers)]

    def sums(self, plan: "Plan") -> Mapping[str, Sums]:
        """Returns the moments of head contributions for which words are sought."""
        if self.encoder is None or self.encoder.space is None:
            return {}
        return {"words": HeadMoments(self.encoder.space, with_texts=self.keeps_texts)}

    def identity(self) -> Json:
        bank = () if self.encoder is None else self.encoder.bank
        return {"heads": True, "detail": "tokens" if self.tokens else None, "bank": [*bank]}
