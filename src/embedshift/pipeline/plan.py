"""`Plan`: what decides the views of a study; every measure of a question knows it."""

from dataclasses import dataclass

from embedshift.augmentations import Suite
from embedshift.config import StudyConfig
from embedshift.encoders.base import Encoder, Preprocess


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What decides the views of a study, except the images."""

    config: StudyConfig
    suite: Suite
    preprocess: Preprocess
    images: int

    @property
    def views(self) -> int:
        """Number of augmented views of an image."""
        return len(self.suite.names) * self.config.draws


def encoder_preprocess(encoder: Encoder, declared: Preprocess | None) -> Preprocess:
    """Returns the preprocessing that the encoder declares, else the default at its size."""
    return declared or Preprocess(encoder.size, encoder.mean, encoder.std)
