"""The loader's part of the work: one image is decoded, its views are drawn or read, and their pixels are measured."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from embedshift.arrays import Pixels, Values
from embedshift.augmentations import ORIGINAL, Purified
from embedshift.augmentations.views import draw_views
from embedshift.errors import EmbedshiftError, cause
from embedshift.pipeline.limit import TookTooLong, time_limit
from embedshift.pipeline.plan import Plan
from embedshift.sources import PairedSource, Sample, Source, images, without_folders
from embedshift.sources.base import storable
from embedshift.store.shards import Failure

T = TypeVar("T")


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
        missing: Places of views that are missing, where the original stands in for them.
    """

    sample: Sample
    pixels_hash: str
    views: Pixels
    seeds: list[int]
    pixels: dict[str, Values]
    seconds: dict[str, float]
    missing: tuple[int, ...] = ()

    def without_views(self) -> "DrawnImage":
        """The same without the pixels."""
        return replace(self, views=self.views[:0].copy())


@dataclass
class Clock:
    """Seconds per stage, and the stage that is under way; `began` is called when one begins."""

    seconds: dict[str, float] = field(default_factory=dict)
    stage: str = ""
    began: Callable[[], None] = lambda: None
    _last: float = field(default_factory=time.perf_counter)

    def restart(self) -> None:
        """Leaves out the time since the last lap."""
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Counts the time since the last lap to `stage`."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    @contextlib.contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """A block that is one stage: its time counts to it, and what fails in it fails there."""
        self.stage = stage
        self.began()
        yield
        self.lap(stage)


def draw_image(
    sample: Sample, source: Source, plan: Plan, *, ends_process: bool = False, into: Pixels | None = None
) -> DrawnImage | Failure:
    """Reads one image, draws or reads its views once, and measures their pixels; what fails becomes a `Failure`.

    Args:
        sample: The image.
        source: Reads its bytes.
        plan: What to draw, and how long one step may take.
        ends_process: Whether a step that cannot be ended otherwise ends this process.
        into: Where the views are put, uint8 `[1 + A * draws, S, S, 3]`; None = a new array.

    Raises:
        TookTooLong: when a step takes longer than the settings allow; its text is the stage.
        MemoryError: when it does not fit into memory. Both may be otherwise another time.
    """
    seconds = plan.config.image_timeout
    return guarded(lambda clock: _drawn(sample, source, plan, clock, into), sample, source, seconds, ends_process)


def hash_image(sample: Sample, source: Source, plan: Plan, *, ends_process: bool = False) -> str | Failure:
    """The hash of an image's pixels as they are now; arguments and errors as those of `draw_image`."""
    seconds = plan.config.image_timeout
    return guarded(lambda clock: _hashed(sample, source, clock), sample, source, seconds, ends_process)


def guarded(
    work: Callable[[Clock], T], sample: Sample, source: Source, seconds: float, ends_process: bool = False
) -> T | Failure:
    """What some work on one image gives; what fails becomes a `Failure`.

    Args:
        work: It tells a clock its stages.
        sample: The image.
        source: Where it comes from.
        seconds: How long one step may take.
        ends_process: As `draw_image`, whose errors it has.
    """
    if sample.problem is not None:
        return Failure(storable(sample.image_id), "list", sample.problem)
    clock = Clock()
    try:
        with time_limit(seconds, ends_process=ends_process) as clock.began:
            return work(clock)
    except TookTooLong as error:
        raise TookTooLong(clock.stage) from error
    except Exception as error:
        if memory := _memory_error(error):
            raise memory from error
        words = without_folders(cause(error), source.description)
        # A file that cannot be reached may be there another time; what it holds stays the same.
        transient = clock.stage == "read" and not isinstance(error.__cause__ or error, EmbedshiftError)
        return Failure(storable(sample.image_id), clock.stage, words, transient)


def out_of_reach(sample: Sample, error: BaseException, seconds: float, tries: str) -> Failure:
    """The failure of an image whose last try did not end with the image.

    Args:
        sample: The image.
        error: What ended the last try.
        seconds: How long one step might take.
        tries: How often it was tried, in words.
    """
    stage = "draw"
    if isinstance(error, TookTooLong):
        stage, words = str(error), f"took longer than {seconds:g} s (`image_timeout`)"
    elif isinstance(error, MemoryError):
        words = "it does not fit into memory"
    else:
        words = (
            "its loader process ended while reading, decoding or augmenting it: out of memory, a fault in a library, "
            f"or a step that took longer than {seconds:g} s (`image_timeout`)"
        )
    return Failure(storable(sample.image_id), stage, f"{words}; tried {tries}", transient=True)


def _hashed(sample: Sample, source: Source, clock: Clock) -> str:
    with clock.at("read"):
        data = source.read(sample)
    with clock.at("decode"):
        return images.pixels_hash(images.decode(data))


def _drawn(sample: Sample, source: Source, plan: Plan, clock: Clock, into: Pixels | None) -> DrawnImage:
    missing = tuple[int, ...]()
    with clock.at("read"):
        data = source.read(sample)
    with clock.at("decode"):
        whole = images.decode(data)
        pixels_hash, original = images.pixels_hash(whole), sized(whole, plan)
    if isinstance(source, PairedSource):
        views, seeds, missing = read_views(original, sample, source, plan, clock, into)
    else:
        with clock.at("draw"):
            seed, draws = plan.config.seed, plan.config.draws
            views, seeds = draw_views(
                original, sample.image_id, plan.suite, seed=seed, draws=draws, before_each=clock.began, into=into
            )
    clock.stage = "measure"
    clock.began()
    pixels: dict[str, Values] = {}
    for each in plan.measures:
        pixels |= each.of_pixels(views) | each.of_seeds(original, seeds[1:], plan)
    clock.lap("pixels")
    return DrawnImage(sample, pixels_hash, views, seeds, pixels, clock.seconds, missing)


def _memory_error(error: BaseException | None) -> MemoryError | None:
    """The lack of memory that an error came from, if it did."""
    while error is not None and not isinstance(error, MemoryError):
        error = error.__cause__
    return error


def sized(image: Pixels, plan: Plan) -> Pixels:
    """An image `[H, W, 3]` as the encoder takes it, `[S, S, 3]`."""
    how = plan.preprocess
    return images.resize(image, how.size, plan.config.resize, shortest=how.shortest, resample=how.resample)


def read_views(
    original: Pixels, sample: Sample, source: PairedSource, plan: Plan, clock: Clock, into: Pixels | None = None
) -> tuple[Pixels, list[int], tuple[int, ...]]:
    """The original and its variants, brought to the same size by the same way, and what purifiers make of them.

    Returns:
        Views uint8 `[1 + A, S, S, 3]`; their seeds, which are 0; and the places of those that are missing, where the
        original stands.

    Raises:
        EmbedshiftError: for a variant that cannot be read or decoded; the line begins with its name.
    """
    views: dict[str, Pixels | None] = {ORIGINAL: original}
    for each in plan.suite:
        if isinstance(each, Purified):  # it comes after what it is made from
            with clock.at("draw"):
                source_view = views[each.of]
                views[each.name] = None if source_view is None else each.draw(source_view, 0)
        else:
            views[each.name] = _variant(each.name, sample, source, plan, clock)
    missing = [place for place, view in enumerate(views.values()) if view is None]
    stacked = np.stack([original if view is None else view for view in views.values()], out=into)
    return stacked, [0] * len(stacked), tuple(missing)


def _variant(name: str, sample: Sample, source: PairedSource, plan: Plan, clock: Clock) -> Pixels | None:
    """One variant at the encoder's size; None where it is missing."""
    variant = source.variant(name, sample)
    if variant is None:
        return None
    try:
        with clock.at("read"):
            if variant.problem is not None:
                raise EmbedshiftError(variant.problem)
            data = source.read_variant(name, variant)
        with clock.at("decode"):
            return sized(images.decode(data), plan)
    except Exception as error:
        raise EmbedshiftError(f"{name}: {cause(error)}") from error
