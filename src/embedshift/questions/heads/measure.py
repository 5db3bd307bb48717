"""The contributions of a view's shift that heads, feed-forward networks and input carry, received from the encoder."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.pipeline.measure import Column, Measure, StudySwitches, Sums
from embedshift.questions.heads import Switches
from embedshift.questions.heads.words import HeadMoments, WordSpace

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.plan import Plan


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
        # Of the loaded encoder, and its texts.
        self.layers = self.heads = self.cells = 0
        self.bank: tuple[str, ...] = ()
        self.space: WordSpace | None = None
        self.keeps_texts = False

    @property
    def observations(self) -> Sequence[str]:
        return ("heads",)

    def columns(self, probe: "EncoderOutput | None") -> Sequence[Column]:
        """Returns the columns of contributions of a view's shift, which add up to 1."""
        assert self.layers, "the encoder is loaded before"
        lists = {"heads": self.layers * self.heads, "mlps": self.layers}
        numbers = ["head_input", "head_pattern", "head_rest"]
        if self.tokens:
            lists |= dict.fromkeys(("tokens_pattern", "tokens_values"), 1 + self.cells)
        return [*(Column(name, length) for name, length in lists.items()), *(Column(name, None) for name in numbers)]

    def sums(self, plan: "Plan") -> Mapping[str, Sums]:
        return {} if self.space is None else {"words": HeadMoments(self.space, with_texts=self.keeps_texts)}

    def identity(self) -> Json:
        return {"heads": True, "detail": "tokens" if self.tokens else None, "bank": [*self.bank]}
