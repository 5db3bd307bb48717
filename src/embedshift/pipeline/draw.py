"""The loader's part of the work: one image is read, decoded, drawn once, and its pixels are measured."""

import time
from dataclasses import dataclass, field

from embedshift.arrays import Pixels, Values
from embedshift.augmentations.views import draw_views
from embedshift.errors import cause
from embedshift.pipeline.plan import Plan
from embedshift.sources import Sample, Source, images, without_folders
from embedshift.store.shards import Failure, storable


@dataclass(frozen=True)
class DrawnImage:
    """One image on its way to the encoder.

    Args:
        sample: The image.
        pixels_hash: Of its pixels as they were decoded.
        views: The original at the encoder's size, then draw by draw its views, `[1 + A * draws, S, S, 3]`.
        seeds: Of the views.
        pixels: Metrics of the views' pixels, by name.
        seconds: Seconds per stage.
    """

    sample: Sample
    pixels_hash: str
    views: Pixels
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
    clock, stage, config = Clock(), "read", plan.config
    try:
        data = source.read(sample)
        clock.lap(stage)
        stage = "decode"
        whole, preprocess = images.decode(data), plan.preprocess
        pixels_hash = images.pixels_hash(whole)
        original = images.resize(
            whole, preprocess.size, config.resize, shortest=preprocess.shortest, resample=preprocess.resample
        )
        clock.lap(stage)
        stage = "draw"
        views, seeds = draw_views(original, sample.image_id, plan.suite, seed=config.seed, draws=config.draws)
        clock.lap(stage)
        stage = "measure"
        pixels: dict[str, Values] = {}
        for each in plan.measures:
            pixels |= each.of_pixels(views) | each.of_seeds(original, seeds[1:], plan)
        clock.lap("pixels")
    except Exception as error:
        words = without_folders(cause(error), source.description)
        return Failure(storable(sample.image_id), stage, words)
    return DrawnImage(sample, pixels_hash, views, seeds, pixels, clock.seconds)
