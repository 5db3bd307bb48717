"""An encoder ready for work: loaded, observed and compiled, with the observers of the questions."""

import contextlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from embedshift.arrays import Values
from embedshift.encoders.base import Encoder, EncoderOutput
from embedshift.encoders.spec import EncoderSpec
from embedshift.errors import UsageError
from embedshift.pipeline.answers import refuse_other
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.measure import Measure, Observer
from embedshift.sources import ImageRef


@dataclass(frozen=True)
class ReadyEncoder:
    """An encoder, and for each question of the study what it does beside the encoder."""

    encoder: Encoder
    observers: Mapping[str, Observer]

    def prepare(self, measures: Sequence[Measure]) -> tuple[Measure, ...]:
        return tuple(self._observer(measure).prepare(measure) for measure in measures)

    def begin(self, measures: Sequence[Measure], samples: Sequence[ImageRef]) -> list[Measure]:
        return [self._observer(measure).begin(measure, samples) for measure in measures]

    def of_image(self, measures: Sequence[Measure], image: DrawnImage, output: EncoderOutput) -> dict[str, Values]:
        values: dict[str, Values] = {}
        for measure in measures:
            values |= self._observer(measure).of_image(measure, image, output)
        return values

    def seconds(self, measures: Sequence[Measure], image: DrawnImage) -> dict[str, float]:
        """Returns the seconds that separate passes add to the whole study, by question; empty if they add none."""
        by_question = {measure.question: self._observer(measure).seconds(measure, image) for measure in measures}
        return {question: seconds for question, seconds in by_question.items() if seconds}

    def probe(self, spec: EncoderSpec) -> EncoderOutput | None:
        """Returns the encoder's output for one black image; None if nothing is observed."""
        if not spec.observations:
            return None
        size = self.encoder.size
        output = self.encoder(np.zeros((1, size, size, 3), np.uint8))
        for name in spec.observations:
            if name not in output.observed:
                raise UsageError(f"{self.encoder.name} gives no {name}, although it is observed by it")
        return output

    def _observer(self, measure: Measure) -> Observer:
        return self.observers[measure.question]


@contextlib.contextmanager
def ready(spec: EncoderSpec, device: str | None = None, *, compiled: bool) -> Iterator[ReadyEncoder]:
    """Gives the encoder of a study, ready until the end of the block; afterwards a user's encoder is as before."""
    # Before the encoder is observed, since observers may bring observations of their own.
    parts = {question.name: question.part("observe") for question in spec.config.questions()}
    with spec.in_use(device) as encoder, contextlib.ExitStack() as stack:
        refuse_other(encoder, spec, platform.node())
        if compiled:
            stack.enter_context(spec.compiled(encoder))
        observers = {name: (part.OBSERVER if part else Observer)(spec, encoder) for name, part in parts.items()}
        yield ReadyEncoder(encoder, observers)
