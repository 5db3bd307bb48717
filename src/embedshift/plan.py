"""The plan: what decides the rows of a study, beside the images and the encoder."""

from dataclasses import dataclass
from typing import Literal

from embedshift.augmentations import Suite
from embedshift.encoders.base import Preprocess
from embedshift.images import Resize
from embedshift.metrics import METRICS
from embedshift.texts import TextVectors


@dataclass(frozen=True)
class Plan:
    """What decides the rows of a study, beside the images and the encoder."""

    suite: Suite
    preprocess: Preprocess
    resize: Resize
    seed: int
    draws: int
    metrics: tuple[str, ...]
    batch_size: int
    config_hash: str
    layers: bool = False
    text: TextVectors | None = None
    store: Literal["all", "metrics"] = "all"

    def of_family(self, family: str) -> list[str]:
        """The study's metrics of one family."""
        return [name for name in self.metrics if METRICS[name].family == family]
