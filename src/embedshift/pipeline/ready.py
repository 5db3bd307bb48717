"""An encoder ready for work: loaded and compiled, with observations and observers."""

import contextlib
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from embedshift.encoders.base import Encoder, EncoderOutput
from embedshift.encoders.spec import EncoderSpec
from embedshift.errors import UsageError
from embedshift.pipeline.identity import refuse_other
from embedshift.pipeline.measure import Observer


@dataclass(frozen=True)
class ReadyEncoder:
    encoder: Encoder
    observers: Mapping[str, Observer]

    def probe(self, spec: EncoderSpec) -> EncoderOutput | None:
        """Returns the encoder's output for one black image; None if nothing is observed."""
        if not spec.observations:
            return None
        size = self.encoder.size
        output = self.encoder(np.zeros((1, size, size, 3), np.uint8))
        for name in spec.observations:
            if name not in output.observed:
                raise UsageError(f"{self.encoder.name} gives no {name}, although its `observing` accepted it")
        return output


@contextlib.contextmanager
def ready(spec: EncoderSpec, *, compiled: bool) -> Iterator[ReadyEncoder]:
    # Imported before the encoder is entered: an observe.py may register observations.
    parts = {question.name: question.part("observe") for question in spec.config.questions()}
    with contextlib.ExitStack() as stack:
        encoder = spec.enter(stack)
        refuse_other(encoder, spec, platform.node())
        if compiled:
            stack.enter_context(spec.compiled(encoder))
        observers = {name: (part.OBSERVER if part else Observer)(spec, encoder) for name, part in parts.items()}
        yield ReadyEncoder(encoder, observers)
