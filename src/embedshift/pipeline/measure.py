"""The interface between the pipeline and a question's measurements."""

import copy
import functools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from embedshift.arrays import Pixels, Values
from embedshift.config import Json, StudyConfig
from embedshift.errors import UsageError
from embedshift.registry import METRICS

if TYPE_CHECKING:
    from embedshift.augmentations import Suite
    from embedshift.augmentations.views import Canvas
    from embedshift.encoders.base import Encoder, EncoderOutput, ReadsText, TextEncoder
    from embedshift.encoders.spec import EncoderSpec
    from embedshift.pipeline.drawn import DrawnImage
    from embedshift.sources import ImageRef
    from embedshift.store.info import EncoderRecord


@dataclass(frozen=True)
class Column:
    """A list of float32 numbers in the rows, or one number. Metrics need none: each has a column of float64.

    Args:
        name: Name of the column.
        length: Length of the list; None = one float64 instead of a list.
        of: The rows that hold it: "views" = every augmented view, "original" = only the original view, "all" = both.
        images: Number of images of the study that have it, null in the rows of the others; None = all.
    """

    name: str
    length: int | None
    of: Literal["views", "original", "all"] = "views"
    images: int | None = None


@dataclass(frozen=True)
class StudySwitches:
    """The input of a question when a study is prepared.

    Args:
        config: The settings.
        suite: The augmentations.
        samples: The images.
        metrics: The standard metrics, and those that `config.metrics` requests.
    """

    config: StudyConfig
    suite: "Suite"
    samples: "Sequence[ImageRef]"
    metrics: Sequence[str]

    def drawn(self, count: int, among: "Sequence[ImageRef] | None" = None) -> frozenset[str]:
        """Returns the ids of `count` images drawn by the study's seed, for expensive work on a few images."""
        ids = sorted(sample.image_id for sample in (self.samples if among is None else among))
        return frozenset(random.Random(self.config.seed).sample(ids, min(count, len(ids))))


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """The part of a plan that measures use.

    Args:
        config: The settings.
        suite: The augmentations.
        encoder: The record of the loaded encoder.
        images: The number of images of the study.
    """

    config: StudyConfig
    suite: "Suite"
    encoder: "EncoderRecord"
    images: int

    @property
    def shard_size(self) -> int:
        """Images per shard, after "auto" is resolved."""
        return int(self.config.shard_size)


class Measure:
    """The measurements of one question; its `measure.py` has a subclass named `MEASURE`.

    It is made once per study and sent to every process that draws or encodes.

    Attributes:
        in_float32: Whether it needs the encoder in float32; `precision` auto then becomes float32.

    Args:
        asked: The study's settings, augmentations, images and metrics.
    """

    in_float32 = False

    def __init__(self, asked: StudySwitches) -> None:
        self.metrics = tuple(name for name in asked.metrics if METRICS[name].question == self.question)

    @property
    def question(self) -> str:
        """The name of its question."""
        return type(self).__module__.split(".")[-2]

    def changed(self, **attributes: Any) -> Self:
        """Returns a copy with some other attributes, known only to the encoder or needed by one shard."""
        measure = copy.copy(self)
        vars(measure).update(attributes)
        return measure

    @property
    def observations(self) -> Sequence[str]:
        """Returns the names of observations that the encoder must add to embedding and attention."""
        return ()

    def needing(self, need: str) -> list[str]:
        """Returns its metrics with one need."""
        return [name for name in self.metrics if METRICS[name].needs == need]

    def identity(self) -> Json:
        """Returns further identity of the study as JSON, beyond settings and metrics."""
        return {}

    def columns(self, probe: "EncoderOutput | None") -> Sequence[Column]:
        """Returns the columns of its rows other than metrics: lists and numbers.

        Args:
            probe: The encoder's output for one black image; None if nothing is observed.
        """
        return ()

    def of_file(self, image: Pixels, size: int) -> Mapping[str, Values]:
        """Returns numbers of the original, from the decoded file alone; computed beside the loader.

        Args:
            image: uint8 `[H, W, 3]`, at its own size.
            size: Bytes of the file.
        """
        return {}

    def parts(self, image: Pixels) -> Sequence[Pixels]:
        """Returns parts of the decoded file that are encoded too, each resized as an image is; beside the loader.

        Args:
            image: uint8 `[H, W, 3]`, at its own size.
        """
        return ()

    def beside(self, image: "DrawnImage") -> Sequence[Pixels]:
        """Returns further images to encode in the batches of an image's views, as many as `count_beside` says.

        Args:
            image: The image with its V + 1 views, and the parts of its file.
        """
        return ()

    def count_beside(self, views: int) -> int:
        """Returns the number of images encoded beside the V + 1 `views` of one image."""
        return 0

    def of_beside(self, image: "DrawnImage", output: "EncoderOutput") -> Mapping[str, Values]:
        """Returns columns, in the form of `of_output`, from the encoder's output for `beside`.

        Args:
            image: The image with its V + 1 views.
            output: The encoder's output for `beside`.
        """
        return {}

    def of_pixels(self, views: Pixels) -> dict[str, Values]:
        """Returns metrics of the augmented views, `[V]` each, from pixels alone; computed beside the loader.

        Args:
            views: uint8 `[1 + V, S, S, 3]`, the original first.
        """
        return {}

    def of_seeds(self, views: Pixels, seeds: Sequence[int], plan: StudyPlan, canvas: "Canvas") -> dict[str, Values]:
        """Returns metrics of the augmented views, `[V]` each, that depend on their seeds; computed beside the loader.

        Args:
            views: uint8 `[1 + V, S, S, 3]`, the original first.
            seeds: Seeds of the augmented views, draw by draw.
            plan: The plan of the rows.
            canvas: The image that the augmentations changed.
        """
        return {}

    def of_output(self, image: "DrawnImage", output: "EncoderOutput", plan: StudyPlan) -> dict[str, Values]:
        """Returns metrics `[V]` and lists `[V, length]` of the augmented views, and numbers and lists of the original.

        Lists of all views are `[V + 1, length]`. Missing columns become null.

        Args:
            image: The image with its V + 1 views.
            output: The encoder's output for them, the original first.
            plan: The plan of the rows.
        """
        return {}

    def of_pair(
        self, views: Pixels, output: "EncoderOutput", samples: "Sequence[ImageRef]", plan: StudyPlan
    ) -> dict[str, float]:
        """Returns the metrics of two different images, the second in place of a view, for baselines.

        A missing metric has no baseline from pairs.

        Args:
            views: Two originals, uint8 `[2, S, S, 3]`.
            output: The encoder's output for them, two rows.
            samples: The two images.
            plan: The plan of the rows.
        """
        return {}

    def sums(self, plan: StudyPlan) -> Mapping[str, "Sums"]:
        """Returns, by name, new sums that a shard accumulates over its images."""
        return {}


class Sums:
    """Sums of a shard: arrays that are added or appended to those of other shards."""

    def add(self, image: "DrawnImage", output: "EncoderOutput") -> None:
        """Adds an image with its views, and the encoder's output: the original first, then draw by draw."""
        raise NotImplementedError

    def close(self) -> Mapping[str, Values]:
        """Returns the sums by name, float64 or float32; empty if there are none."""
        raise NotImplementedError


class Observer:
    """The work of a question beside the encoder; its `observe.py` has a subclass named `OBSERVER`.

    It is made once in every process that has an encoder.

    Args:
        spec: Specification of the study's encoder.
        encoder: The loaded encoder.
    """

    def __init__(self, spec: "EncoderSpec", encoder: "Encoder") -> None:
        self.spec, self.encoder = spec, encoder

    def prepare(self, measure: Any) -> Any:
        """Returns the question's measure with data from the encoder; called once, before the first shard."""
        return measure

    def begin(self, measure: Any, samples: "Sequence[ImageRef]") -> Any:
        """Returns the measure for one shard."""
        return measure

    def of_image(self, measure: Any, image: "DrawnImage", output: "EncoderOutput") -> Mapping[str, Values]:
        """Returns the results of separate passes for one image, by column, in the form of `Measure.of_output`.

        Args:
            measure: The question's measure, from `begin`.
            image: The image with its V + 1 views.
            output: The encoder's output for them, the original first.
        """
        return {}

    def seconds(self, measure: Any, image: "DrawnImage") -> float:
        """Returns the seconds that separate passes add to the study, estimated from one image; for the dry run."""
        return 0.0

    @functools.cached_property
    def text_tower(self) -> "TextEncoder | ReadsText":
        """The encoder, or the text tower of its weights; UsageError if it has none."""
        return self.spec.text_tower(self.encoder)

    def text_vectors(self, texts: Sequence[str]) -> Values:
        """Returns the vectors of N texts in the space of the embeddings, float64 `[N, D]`."""
        read: Any = getattr(self.text_tower, "encode_text", self.text_tower)
        vectors = np.array(read(list(texts)), np.float64)
        if vectors.shape != (len(texts), self.encoder.dim):
            raise UsageError(
                f"{self.encoder.name}: the text tower gives {vectors.shape} for {len(texts)} texts and the encoder "
                f"embeddings of {self.encoder.dim} numbers: they do not share one space"
            )
        return vectors
