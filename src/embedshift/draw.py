"""The loader's part of the work: one image is read, decoded, drawn once, and its pixels are measured."""

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embedshift import images
from embedshift.errors import cause
from embedshift.metrics import METRICS
from embedshift.plan import Plan
from embedshift.shards import Failure, storable
from embedshift.sources import Sample, Source
from embedshift.views import draw_views

Values = NDArray[np.float64]


@dataclass(frozen=True)
class DrawnImage:
    """One image on its way to the encoder: its views `[1 + A * draws, S, S, 3]` and what their pixels say."""

    sample: Sample
    views: NDArray[np.uint8]
    seeds: list[int]
    pixels: dict[str, Values]
    seconds: dict[str, float]


@dataclass
class Clock:
    """Seconds per stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, stage: str) -> None:
        """Counts the time since the last lap to `stage`."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def draw_image(sample: Sample, source: Source, plan: Plan) -> DrawnImage | Failure:
    """Reads one image, draws its views once, and measures their pixels; whatever goes wrong becomes a `Failure`."""
    if sample.problem is not None:
        return Failure(storable(sample.image_id), "list", sample.problem)
    clock, stage = Clock(), "read"
    try:
        data = source.read(sample)
        clock.lap(stage)
        stage = "decode"
        picture = images.decode(data)
        preprocess = plan.preprocess
        original = images.resize(
            picture, preprocess.size, plan.resize, shortest=preprocess.shortest, resample=preprocess.resample
        )
        clock.lap(stage)
        stage = "draw"
        views, seeds = draw_views(original, sample.image_id, plan.suite, seed=plan.seed, draws=plan.draws)
        clock.lap(stage)
        stage = "measure"
        pixels = {name: METRICS[name].function(views[:1], views[1:]) for name in plan.of_family("pixels")}
        clock.lap("pixels")
    except Exception as error:
        return Failure(storable(sample.image_id), stage, cause(error))
    return DrawnImage(sample, views, seeds, pixels, clock.seconds)
