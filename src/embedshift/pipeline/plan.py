"""`Plan`: what decides the views of a study; every measure of a question knows it."""

from dataclasses import dataclass
from typing import Literal

from embedshift.arrays import Pixels
from embedshift.augmentations import Suite
from embedshift.augmentations.views import Canvas
from embedshift.config import Resize, StudyConfig
from embedshift.encoders.base import Encoder, EncoderInfo, Preprocess
from embedshift.sources.images import ToInput


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What decides the views of a study, except the images."""

    config: StudyConfig
    suite: Suite
    preprocess: Preprocess
    images: int
    # Whether the encoder gets the images of files and their views at their own sizes.
    encodes_files: bool = False

    @property
    def views(self) -> int:
        return len(self.suite.names) * self.config.draws

    @property
    def bytes_per_image(self) -> int:
        file = 3 * self.config.longest**2 if self.config.apply_to == "file" and not self.encodes_files else 0
        return file + (1 + self.views) * self.bytes_per_view

    @property
    def bytes_per_view(self) -> int:
        return 3 * (self.preprocess.size**2 + (self.config.longest**2 if self.encodes_files else 0))

    @property
    def to_input(self) -> ToInput:
        return to_input(self.preprocess, self.config.resize)

    def canvas(self, image: Pixels) -> Canvas:
        return Canvas.of(image, self.to_input, self.config.apply_to, self.config.longest)


def to_input(preprocess: Preprocess, how: Resize | Literal["own"] | None = None) -> ToInput:
    return ToInput(preprocess.size, preprocess.square(how), preprocess.shortest, preprocess.resample)


def encoder_preprocess(encoder: Encoder) -> Preprocess:
    return EncoderInfo.of(encoder).preprocess or Preprocess(encoder.size, encoder.mean, encoder.std)
