"""The shares of a view's shift that heads, feed-forward networks and input carry; they come from the encoder."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.pipeline.measure import Asked, Column, Measure
from embedshift.questions.heads import Switches

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput


class MEASURE(Measure):
    """The split of every shift.

    Attributes:
        layers: L, once the encoder is known.
        heads: H, likewise.
    """

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        config = asked.config
        self.settings = config.of(Switches)
        if config.precision != "float32" or config.compile:
            given = "`compile`" if config.compile else f"`precision` {config.precision}"
            raise UsageError(f"`heads` splits a shift in float32, by torch's own passes; run it without {given}")
        self.layers = self.heads = 0

    @property
    def observations(self) -> Sequence[str]:
        """What the parts of every block add."""
        return ("heads",)

    def columns(self, probe: "EncoderOutput | None") -> Sequence[Column]:
        """Shares of a view's shift, which add up to 1."""
        lists = {"heads": self.layers * self.heads, "mlps": self.layers}
        numbers = dict.fromkeys(("head_input", "head_pattern", "head_rest"))
        return [Column(name, length) for name, length in {**lists, **numbers}.items()]

    def identity(self) -> Json:
        """That they are there."""
        return {"heads": True}
