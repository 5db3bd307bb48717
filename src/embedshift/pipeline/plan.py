"""`Plan`: everything that determines the rows of a study except the images, sent to every process."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

from embedshift.arrays import Pixels
from embedshift.augmentations import Suite
from embedshift.augmentations.views import Canvas
from embedshift.config import FEW_IMAGES, FEW_PER_SHARD, Resize, StudyConfig
from embedshift.encoders.base import Encoder, EncoderInfo, Preprocess
from embedshift.encoders.spec import EncoderSpec
from embedshift.pipeline.measure import Column, Measure, StudyPlan, StudySwitches
from embedshift.registry import asked_metrics
from embedshift.sources import ImageRef, Source
from embedshift.sources.images import ToInput

# Maximum images per shard of `auto`, and bytes of its rows; a run holds about three copies.
MOST_PER_SHARD, SHARD_BYTES = 1024, 2**28


@dataclass(frozen=True, kw_only=True)
class Plan(StudyPlan):
    source: Source
    spec: EncoderSpec
    measures: tuple[Measure, ...]
    columns: tuple[Column, ...]
    batch_size: int
    # Whether the encoder gets the images of files and their views at their own sizes.
    encodes_files: bool = False
    config_hash: str = ""

    @property
    def metrics(self) -> tuple[str, ...]:
        measured = [name for measure in self.measures for name in measure.metrics]
        named = [name for name in asked_metrics(self.config.metrics) if name in measured]
        return tuple(dict.fromkeys([*named, *measured]))

    @property
    def views(self) -> int:
        return len(self.suite.names) * self.config.draws

    @property
    def beside(self) -> int:
        """Number of images encoded beside the views and the original of one image."""
        return sum(measure.count_beside(1 + self.views) for measure in self.measures)

    @property
    def bytes_per_image(self) -> int:
        file = 3 * self.config.longest**2 if self.config.apply_to == "file" and not self.encodes_files else 0
        return file + (1 + self.views + self.beside) * self.bytes_per_view

    @property
    def row_bytes(self) -> int:
        """Bytes of the rows of one image in memory: four per number of a list, eight per single number."""
        encoder, views = self.encoder, 1 + self.views
        vectors = encoder.dim + math.prod(encoder.grid or (0,)) if self.config.store == "all" else 0
        lists = sum((column.length or 2) * (1 if column.of == "original" else views) for column in self.columns)
        return 4 * (views * (vectors + 2 * len(self.metrics)) + lists)

    def images_per_shard(self) -> int:
        """Returns the shard size of "auto": by the number of images, fewer if their rows are large."""
        size = FEW_PER_SHARD
        while size < MOST_PER_SHARD and self.images * FEW_PER_SHARD > FEW_IMAGES * size:
            size *= 2
        while size > 1 and size * self.row_bytes > SHARD_BYTES:
            size //= 2
        return size

    @property
    def bytes_per_view(self) -> int:
        return 3 * (self.encoder.size**2 + (self.config.longest**2 if self.encodes_files else 0))

    @property
    def to_input(self) -> ToInput:
        how: Resize = "crop" if self.config.resize == "crop" else "squash"  # "own" is resolved by now
        return ToInput(self.encoder.size, how, self.encoder.shortest, self.encoder.resample)

    def canvas(self, image: Pixels) -> Canvas:
        return Canvas.of(image, self.to_input, self.config.apply_to, self.config.longest)

    def encoded(self, image: Pixels) -> Pixels:
        """Returns the encoder's view of a decoded image without a change."""
        return self.canvas(image).encoded(own_size=self.encodes_files)

    def with_batch(self, size: int) -> Self:
        """Returns the plan with batches of `size`, since a batch too large for memory fails again."""
        return replace(self, batch_size=size)

    def for_loaders(self) -> Self:
        """Returns the plan without a user's encoder, whose weights would be sent to spawned loaders."""
        return replace(self, spec=replace(self.spec, given=None))


def make_measures(config: StudyConfig, suite: Suite, samples: Sequence[ImageRef]) -> tuple[Measure, ...]:
    switches = StudySwitches(config, suite, samples, asked_metrics(config.metrics))
    parts = [question.part("measure") for question in config.questions()]
    return tuple(part.MEASURE(switches) for part in parts if part is not None)


def to_input(preprocess: Preprocess, how: Resize | Literal["own"] | None = None) -> ToInput:
    return ToInput(preprocess.size, preprocess.square(how), preprocess.shortest, preprocess.resample)


def encoder_preprocess(encoder: Encoder) -> Preprocess:
    return EncoderInfo.of(encoder).preprocess or Preprocess(encoder.size, encoder.mean, encoder.std)
