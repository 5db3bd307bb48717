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

# Images whose shifts are followed through the network.
ROUTED = 50


class MEASURE(Measure):
    """The split of every shift."""

    in_float32 = True

    def __init__(self, asked: StudySwitches) -> None:
        super().__init__(asked)
        config = asked.config
        self.settings = config.of(Switches)
        if config.precision not in ("float32", "auto") or config.compile:
            given = "`compile`" if config.compile else f"`precision` {config.precision}"
            raise UsageError(f"`heads` splits a shift in float32, by torch's own passes; run it without {given}")
        self.layers = self.heads = 0
        self.cells = 0
        self.bank: tuple[str, ...] = ()
        self.space: WordSpace | None = None
        self.first = asked.samples[0].image_id if asked.samples else ""
        self.opens = False
        # A route takes seconds a view.
        self.routed = asked.drawn(ROUTED) if self.settings.heads_detail == "route" else frozenset[str]()
        self.detailed = {"tokens": len(asked.samples), "route": len(self.routed)}.get(
            self.settings.heads_detail or "", 0
        )

    @property
    def observations(self) -> Sequence[str]:
        """Requests what the parts of every block add."""
        return ("heads",)

    def columns(self, probe: "EncoderOutput | None") -> Sequence[Column]:
        """Returns the columns of contributions of a view's shift, which add up to 1."""
        lists = {"heads": self.layers * self.heads, "mlps": self.layers}
        numbers = ["head_input", "head_pattern", "head_rest"]
        if self.settings.heads_detail == "tokens":
            lists |= dict.fromkeys(("tokens_pattern", "tokens_values"), 1 + self.cells)
        if self.settings.heads_detail == "route":
            lists |= {"route": self.layers * self.heads, "put_back": self.heads}
            numbers += ["route_input", "route_pooling"]
        return [*(Column(*each) for each in lists.items()), *(Column(name, None) for name in numbers)]

    def sums(self, plan: "Plan") -> Mapping[str, Sums]:
        """Returns the moments of head contributions for which words are sought."""
        return {} if self.space is None else {"words": HeadMoments(self.space, with_texts=self.opens)}

    def identity(self) -> Json:
        """Returns what is split, and the texts."""
        return {"heads": True, "detail": self.settings.heads_detail, "bank": [*self.bank]}
