"""The plan: everything that decides the rows of a study, except the images and the encoder."""

from collections.abc import Sequence
from dataclasses import dataclass

from embedshift.augmentations import Suite
from embedshift.config import StudyConfig
from embedshift.encoders.base import Encoder, EncoderOutput, Preprocess
from embedshift.pipeline.measure import Column, Measure, StudySwitches
from embedshift.registry import asked_metrics
from embedshift.sources import ImageRef


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What decides the rows of a study, except the images and the encoder."""

    config: StudyConfig
    suite: Suite
    preprocess: Preprocess
    measures: tuple[Measure, ...]
    columns: tuple[Column, ...]
    batch_size: int
    images: int
    config_hash: str = ""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of the study, in the order of their columns."""
        return metrics_of(self.config, self.measures)

    @property
    def views(self) -> int:
        """Number of augmented views of an image."""
        return len(self.suite.names) * self.config.draws


def make_measures(config: StudyConfig, suite: Suite, samples: Sequence[ImageRef]) -> tuple[Measure, ...]:
    """Returns the measures of the study's questions, in order."""
    asked = StudySwitches(config, suite, samples, asked_metrics(config.metrics))
    parts = [question.part("measure") for question in config.asked()]
    return tuple(part.MEASURE(asked) for part in parts if part is not None)


def metrics_of(config: StudyConfig, measures: Sequence[Measure]) -> tuple[str, ...]:
    """Returns the standard metrics and those requested by name, then those that the questions add."""
    there = {name for measure in measures for name in measure.metrics}
    named = [name for name in asked_metrics(config.metrics) if name in there]
    return tuple(dict.fromkeys([*named, *(name for measure in measures for name in measure.metrics)]))


def columns_of(measures: Sequence[Measure], probe: EncoderOutput | None) -> tuple[Column, ...]:
    """Returns the list columns of the rows."""
    return tuple(column for measure in measures for column in measure.columns(probe))


def preprocess_of(encoder: Encoder, said: Preprocess | None) -> Preprocess:
    """Returns the preprocessing that the encoder declares, else the default at its size."""
    return said or Preprocess(encoder.size, encoder.mean, encoder.std)
