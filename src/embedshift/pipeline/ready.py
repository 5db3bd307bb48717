"""An encoder ready for work: loaded, observed and compiled, with the observers of the questions."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from embedshift.arrays import Values
from embedshift.config import StudyConfig
from embedshift.encoders.base import Encoder, EncoderOutput
from embedshift.encoders.spec import EncoderSpec
from embedshift.errors import UsageError
from embedshift.pipeline.draw import DrawnImage
from embedshift.pipeline.measure import Measure, Observer
from embedshift.sources import ImageRef


@dataclass(frozen=True)
class ReadyEncoder:
    """An encoder, and the observers of the questions that have one."""

    encoder: Encoder
    observers: Mapping[str, Observer]

    def prepare(self, measures: Sequence[Measure]) -> tuple[Measure, ...]:
        """Returns the measures with data that only the encoder has."""
        return tuple(self._observer(each).prepare(each) for each in measures)

    def begin(self, measures: Sequence[Measure], samples: Sequence[ImageRef]) -> list[Measure]:
        """Returns the measures for one shard."""
        return [self._observer(each).begin(each, samples) for each in measures]

    def of_image(self, measures: Sequence[Measure], image: DrawnImage, output: EncoderOutput) -> dict[str, Values]:
        """Returns the results of separate passes for one image, by column."""
        values: dict[str, Values] = {}
        for each in measures:
            values |= self._observer(each).of_image(each, image, output)
        return values

    def seconds(self, measures: Sequence[Measure], image: DrawnImage) -> dict[str, float]:
        """Returns the seconds that separate passes add to the whole study, by question; empty if they add none."""
        found = {each.question: self._observer(each).seconds(each, image) for each in measures}
        return {question: seconds for question, seconds in found.items() if seconds}

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
        return self.observers.get(measure.question) or _NOTHING


_NOTHING = Observer.__new__(Observer)  # does nothing, and looks at no encoder


@contextlib.contextmanager
def ready(
    spec: EncoderSpec, config: StudyConfig, device: str | None = None, *, compiled: bool
) -> Iterator[ReadyEncoder]:
    """Gives the encoder of a study, ready until the end of the block; afterwards a user's encoder is as before."""
    # Before the encoder is observed, since observers may bring observations of their own.
    parts = {question.name: question.part("observe") for question in config.asked()}
    encoder = spec.load(device)
    compiling = spec.compiled(encoder) if compiled else contextlib.nullcontext()
    with spec.at_work(encoder), spec.observed(encoder), compiling:
        yield ReadyEncoder(encoder, {name: part.OBSERVER(spec, encoder) for name, part in parts.items() if part})
