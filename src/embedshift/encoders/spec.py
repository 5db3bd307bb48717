"""Which encoder a study wants, and how it is made ready: a description that travels to every process that loads one."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from embedshift.config import Precision
from embedshift.encoders import load_encoder, load_text_encoder
from embedshift.encoders.base import Compilable, Encoder, EncoderInfo, Observable, ReadsText, TextEncoder
from embedshift.errors import UsageError

# Rows of activations that keep a device busy; more only takes memory. A fixed table, so that equal studies have equal
# batches.
TOKENS_PER_BATCH = {"cpu": 2_000, "cuda": 50_000, "mps": 10_000}


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """What is loaded, and what it must give.

    Args:
        model: As `load_encoder`.
        device: As `load_encoder`.
        precision: As `load_encoder`.
        size: As `load_encoder`.
        embedding: As `load_encoder`.
        given: An encoder of the user's own, in place of all these.
        observations: What it is observed by.
        compile: Whether forward passes are compiled.
        batch_size: Views per forward pass; None = by device, encoder and size alone.
    """

    model: str
    device: str = "auto"
    precision: Precision = "float32"
    size: int | None = None
    embedding: str | None = None
    given: Encoder | None = None
    observations: tuple[str, ...] = ()
    compile: bool = False
    batch_size: int | None = None

    def load(self, device: str | None = None) -> Encoder:
        """The encoder, on another device where one is named."""
        if self.given is not None:
            return self.given
        return load_encoder(
            self.model,
            device=device or self.device.partition(",")[0],  # the first of several
            precision=self.precision,
            size=self.size,
            embedding=self.embedding,
        )

    def text_tower(self, encoder: Encoder) -> TextEncoder | ReadsText:
        """What reads texts into the space of the encoder: itself, else the text tower that belongs to its weights.

        Raises:
            UsageError: when there is none.
        """
        if isinstance(encoder, ReadsText):
            return encoder
        if self.given is not None:
            raise UsageError(
                f"{encoder.name} has no text tower: text, labels and words need an encoder with a method "
                "encode_text(texts) -> [N, D], as embedshift.wrap(..., encode_text=...) makes it"
            )
        return load_text_encoder(self.model, device=str(EncoderInfo.of(encoder).device), precision=self.precision)

    def batch_for(self, encoder: Encoder) -> int:
        """Views per forward pass."""
        if self.batch_size is not None:
            return self.batch_size
        device = str(EncoderInfo.of(encoder).device or "cpu").partition(":")[0]
        tokens = encoder.grid[0] * encoder.grid[1] + 1 if encoder.grid else 50
        return max(1, TOKENS_PER_BATCH.get(device, 2_000) // tokens)

    @contextlib.contextmanager
    def observed(self, encoder: Encoder) -> Iterator[None]:
        """While entered, the encoder gives what is observed; afterwards it is as it was before.

        Raises:
            UsageError: when it cannot, or cannot be compiled where that is asked for.
        """
        if self.compile and not isinstance(encoder, Compilable):
            raise UsageError(f"{encoder.name} cannot be compiled: it has no `compiling`; run without it")
        if not self.observations:
            yield
            return
        if not isinstance(encoder, Observable):
            asked = " and ".join(self.observations)
            raise UsageError(f"{encoder.name} gives no {asked}: it has no `observing`, see `Observable`")
        with encoder.observing(self.observations):
            yield

    def compiled(self, encoder: Encoder) -> contextlib.AbstractContextManager[None]:
        """While entered, the encoder is compiled, where that is asked for; enter after `observed`."""
        if self.compile and isinstance(encoder, Compilable):
            return encoder.compiling(self.batch_for(encoder))
        return contextlib.nullcontext()
