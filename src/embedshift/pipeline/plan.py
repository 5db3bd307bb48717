"""The plan: what decides the rows of a study, beside the images and the encoder."""

from collections.abc import Sequence
from dataclasses import dataclass

from embedshift.augmentations import Suite
from embedshift.config import StudyConfig
from embedshift.encoders.base import Encoder, EncoderOutput, Preprocess
from embedshift.pipeline.measure import Asked, Column, Measure
from embedshift.registry import asked_metrics
from embedshift.sources import Sample


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What decides the rows of a study, beside the images and the encoder.

    Args:
        config: The settings.
        suite: The augmentations.
        preprocess: How the encoder wants its images.
        measures: What every question measures.
        columns: The lists in the rows.
        batch_size: Views per forward pass.
        images: Number of images in the study.
        config_hash: Of the study.
    """

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
        """The metrics of the study, in the order of the columns."""
        return metrics_of(self.config, self.measures)

    @property
    def views(self) -> int:
        """Augmented views of an image."""
        return len(self.suite.names) * self.config.draws


def make_measures(config: StudyConfig, suite: Suite, samples: Sequence[Sample]) -> tuple[Measure, ...]:
    """What every question of the study measures, in order.

    Raises:
        UsageError: for a metric that is not known, or settings of a question that make no sense.
    """
    asked = Asked(config, suite, samples, asked_metrics(config.metrics))
    parts = [question.part("measure") for question in config.asked()]
    return tuple(part.MEASURE(asked) for part in parts if part is not None)


def metrics_of(config: StudyConfig, measures: Sequence[Measure]) -> tuple[str, ...]:
    """What is always measured and what the settings ask for by name, then what the questions themselves add."""
    there = {name for measure in measures for name in measure.metrics}
    named = [name for name in asked_metrics(config.metrics) if name in there]
    return tuple(dict.fromkeys([*named, *(name for measure in measures for name in measure.metrics)]))


def columns_of(measures: Sequence[Measure], probe: EncoderOutput | None) -> tuple[Column, ...]:
    """The lists in the rows."""
    return tuple(column for measure in measures for column in measure.columns(probe))


def preprocess_of(encoder: Encoder, said: Preprocess | None) -> Preprocess:
    """How the encoder wants its images: as it says, else at its size."""
    return said or Preprocess(encoder.size, encoder.mean, encoder.std)
