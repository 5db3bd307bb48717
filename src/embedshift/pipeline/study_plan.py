"""`StudyPlan`: what decides the rows of a study, except the images and the encoder."""

from collections.abc import Sequence
from dataclasses import dataclass

from embedshift.augmentations import Suite
from embedshift.config import StudyConfig
from embedshift.pipeline.measure import Column, Measure, StudySwitches
from embedshift.pipeline.plan import Plan
from embedshift.registry import asked_metrics
from embedshift.sources import ImageRef


@dataclass(frozen=True, kw_only=True)
class StudyPlan(Plan):
    """What decides the rows of a study, except the images and the encoder."""

    measures: tuple[Measure, ...]
    columns: tuple[Column, ...]
    batch_size: int
    config_hash: str = ""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of the study, in the order of their columns: the standard and named ones, then the questions'."""
        measured = [name for measure in self.measures for name in measure.metrics]
        named = [name for name in asked_metrics(self.config.metrics) if name in measured]
        return tuple(dict.fromkeys([*named, *measured]))


def make_measures(config: StudyConfig, suite: Suite, samples: Sequence[ImageRef]) -> tuple[Measure, ...]:
    switches = StudySwitches(config, suite, samples, asked_metrics(config.metrics))
    parts = [question.part("measure") for question in config.questions()]
    return tuple(part.MEASURE(switches) for part in parts if part is not None)
