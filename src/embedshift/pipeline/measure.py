"""What the pipeline and a question agree on: what a question measures of every image, and how."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from embedshift.arrays import Pixels, Values
from embedshift.config import Json, StudyConfig
from embedshift.registry import METRICS

if TYPE_CHECKING:
    from embedshift.augmentations import Suite
    from embedshift.encoders.base import Encoder, EncoderOutput
    from embedshift.encoders.spec import EncoderSpec
    from embedshift.pipeline.draw import DrawnImage
    from embedshift.pipeline.plan import Plan
    from embedshift.sources import Sample


@dataclass(frozen=True)
class Column:
    """A list of numbers in the rows, float32, or one number; metrics need none, each is a column of float64.

    Args:
        name: Of the column.
        length: Of the list; None = one float64 that is no list.
        of: The rows that hold it: "views" = every augmented view, "original" = the original view alone.
        images: How many images of the study have it, null in the rows of the others; None = all.
    """

    name: str
    length: int | None
    of: Literal["views", "original"] = "views"
    images: int | None = None


@dataclass(frozen=True)
class Asked:
    """What a question gets when a study is prepared.

    Args:
        config: The settings.
        suite: The augmentations.
        samples: The images.
        metrics: The metrics that are always measured, and those that `config.metrics` asks for.
    """

    config: StudyConfig
    suite: "Suite"
    samples: "Sequence[Sample]"
    metrics: Sequence[str]

    def drawn(self, count: int, among: "Sequence[Sample] | None" = None) -> frozenset[str]:
        """Ids of so many of the images, or of some of them, drawn by the study's seed: for what is dear."""
        ids = sorted(sample.image_id for sample in (self.samples if among is None else among))
        return frozenset(random.Random(self.config.seed).sample(ids, min(count, len(ids))))


class Measure:
    """What one question measures; its `measure.py` has a subclass called `MEASURE`.

    Made once a study, it travels to every process that draws or encodes.

    Attributes:
        in_float32: Whether it needs the encoder in float32, which `precision` auto then is.

    Args:
        asked: What the study is about.
    """

    in_float32 = False

    def __init__(self, asked: Asked) -> None:
        self.metrics = tuple(name for name in asked.metrics if METRICS[name].question == self.question)

    @property
    def question(self) -> str:
        """The name of its question."""
        return type(self).__module__.split(".")[-2]

    @property
    def observations(self) -> Sequence[str]:
        """What the encoder must give beside embedding and attention."""
        return ()

    def needing(self, need: str) -> list[str]:
        """Its metrics that need one thing."""
        return [name for name in self.metrics if METRICS[name].needs == need]

    def identity(self) -> Json:
        """What can change a number, beside the settings and the metrics, as JSON; for the study's identity."""
        return {}

    def columns(self, probe: "EncoderOutput | None") -> Sequence[Column]:
        """The lists in its rows.

        Args:
            probe: What the encoder gives for one black image; None where nothing is observed.
        """
        return ()

    def of_pixels(self, views: Pixels) -> dict[str, Values]:
        """Metrics of the augmented views, `[V]` each, from pixels alone; computed beside the loader.

        Args:
            views: uint8 `[1 + V, S, S, 3]`, the original first.
        """
        return {}

    def of_seeds(self, original: Pixels, seeds: Sequence[int], plan: "Plan") -> dict[str, Values]:
        """Metrics of the augmented views, `[V]` each, that their seeds say; computed beside the loader.

        Args:
            original: The original view, uint8 `[S, S, 3]`.
            seeds: Of the augmented views, draw by draw.
            plan: What decides the rows.
        """
        return {}

    def of_output(self, image: "DrawnImage", output: "EncoderOutput", plan: "Plan") -> dict[str, Values]:
        """Metrics of the augmented views `[V]`, lists of theirs `[V, length]`, lists and numbers of the original.

        What is missing here becomes null.

        Args:
            image: The image with its V + 1 views.
            output: What the encoder gave for them, the original first.
            plan: What decides the rows.
        """
        return {}

    def of_pair(
        self, views: Pixels, output: "EncoderOutput", samples: "Sequence[Sample]", plan: "Plan"
    ) -> dict[str, float]:
        """The metrics of two unrelated images, the second in the place of a view; for the floor under every metric.

        What is missing here has no floor from pairs.

        Args:
            views: Two originals, uint8 `[2, S, S, 3]`.
            output: What the encoder gave for them, two rows.
            samples: The two images.
            plan: What decides the rows.
        """
        return {}

    def sums(self, plan: "Plan") -> Mapping[str, "Sums"]:
        """By name, what a shard adds up over its images, each begun anew."""
        return {}


class Sums:
    """Something that a shard adds up: arrays that are added to those of other shards, or put after them."""

    def add(self, image: "DrawnImage", output: "EncoderOutput") -> None:
        """One more image with its views, and what the encoder gave: the original first, then draw by draw."""
        raise NotImplementedError

    def close(self) -> Mapping[str, Values]:
        """The sums by name, float64 or float32; nothing where there is nothing to say."""
        raise NotImplementedError


class Observer:
    """What a question does beside the encoder; its `observe.py` has a subclass called `OBSERVER`.

    Made once in every process that has an encoder.

    Args:
        spec: Which encoder the study wants.
        encoder: The encoder, loaded.
    """

    def __init__(self, spec: "EncoderSpec", encoder: "Encoder") -> None:
        self.spec, self.encoder = spec, encoder

    def prepare(self, measure: Any) -> Any:
        """The question's measure with what only the encoder can tell; called once, before the first shard."""
        return measure

    def begin(self, measure: Any, samples: "Sequence[Sample]") -> Any:
        """The measure for one shard."""
        return measure

    def of_image(self, measure: Any, image: "DrawnImage", output: "EncoderOutput") -> Mapping[str, Values]:
        """What passes of its own tell of one image, by column, as `Measure.of_output` gives it.

        Args:
            measure: The question's, as `begin` made it.
            image: The image with its V + 1 views.
            output: What the encoder gave for them, the original first.
        """
        return {}

    def seconds(self, measure: Any, image: "DrawnImage") -> float:
        """What passes of its own add to the time of the whole study, found by trying one image; for the dry run."""
        return 0.0
