"""The loader's work on one image, with a time limit: decode it, draw or read its views, measure pixels."""

import contextlib
import faulthandler
import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TextIO, TypeVar

import numpy as np

from embedshift.arrays import Pixels, Values
from embedshift.augmentations import ORIGINAL, Purified, Variant
from embedshift.augmentations.views import Canvas, draw_views, view_seed
from embedshift.errors import EmbedshiftError, cause, foreign_code
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.plan import Plan
from embedshift.sources import ImageRef, PairedSource, Source, images, without_folders
from embedshift.sources.base import Failure, storable
from embedshift.sources.views_file import folder_of

T = TypeVar("T")

# Seconds that a step has to end itself before its process is ended.
GRACE = 5.0
# Called by a loader when a step begins, so that its process can be ended; None = no loader.
OnStep = Callable[[], None] | None


class TookTooLong(BaseException):
    """A step ran out of time. Not an `Exception`, because hanging code may catch those."""


@contextlib.contextmanager
def time_limit(seconds: float, on_step: OnStep = None) -> Iterator[Callable[[], None]]:
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def stop(_number: int, _frame: object) -> None:
        raise TookTooLong

    def next_step() -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        if on_step is not None:
            faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=_nowhere())
            on_step()

    handler, timer = signal.signal(signal.SIGALRM, stop), signal.getitimer(signal.ITIMER_REAL)
    try:
        next_step()
        yield next_step
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)
        if on_step is not None:
            faulthandler.cancel_dump_traceback_later()


@functools.cache
def _nowhere() -> TextIO:
    return open(os.devnull, "w")


class FolderError(EmbedshiftError):
    """No file can be written to the output. This ends the run; it is not counted as a failed image."""


@dataclass
class Clock:
    """Seconds per stage, and the current stage; `on_stage` is called when a stage begins."""

    seconds: dict[str, float] = field(default_factory=dict)
    stage: str = ""
    on_stage: Callable[[], None] = lambda: None
    _last: float = field(default_factory=time.perf_counter)

    def restart(self) -> None:
        """Starts to count; the time since the last lap belongs to no stage."""
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    @contextlib.contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """Attributes the time and errors of a block to one stage."""
        self.stage = stage
        self.on_stage()
        yield
        self.lap(stage)


def draw_image(
    sample: ImageRef, source: Source, plan: Plan, *, on_step: OnStep = None, into: Pixels | None = None
) -> DrawnImage | Failure:
    work = functools.partial(_draw, sample, source, plan, into)
    return guarded(work, sample, source, plan.config.image_timeout, on_step)


def hash_image(sample: ImageRef, source: Source, plan: Plan, *, on_step: OnStep = None) -> str | Failure:
    seconds = plan.config.image_timeout

    def hashed(clock: Clock) -> str:
        return read_image(sample, source, lambda *_: None, clock)[0]

    return guarded(hashed, sample, source, seconds, on_step)


def guarded(
    work: Callable[[Clock], T], sample: ImageRef, source: Source, seconds: float, on_step: OnStep = None
) -> T | Failure:
    if sample.problem is not None:
        return Failure(storable(sample.image_id), "list", sample.problem)
    clock = Clock()
    try:
        with time_limit(seconds, on_step) as restart_limit:
            clock.on_stage = restart_limit
            with foreign_code():
                return work(clock)
    except TookTooLong as error:
        raise TookTooLong(clock.stage) from error
    except FolderError:
        raise
    except Exception as error:
        if memory := _memory_error(error):
            raise memory from error
        words = without_folders(cause(error), source.description)
        # A file that cannot be reached may be available later; a corrupt one stays corrupt.
        transient = clock.stage == "read" and not isinstance(error.__cause__ or error, EmbedshiftError)
        return Failure(storable(sample.image_id), clock.stage, words, transient)


def stopped_failure(sample: ImageRef, error: BaseException, seconds: float, tries: str) -> Failure:
    stage = "draw"
    if isinstance(error, TookTooLong):
        stage, words = str(error), f"took longer than {seconds:g} s (`image_timeout`)"
    elif isinstance(error, MemoryError):
        words = "it does not fit into memory"
    else:
        words = (
            "its loader process ended while reading, decoding or augmenting it: out of memory, a fault in a library, "
            f"a step that took longer than {seconds:g} s (`image_timeout`), or a process that was stopped"
        )
    return Failure(storable(sample.image_id), stage, f"{words}; tried {tries}", transient=True)


def _draw(sample: ImageRef, source: Source, plan: Plan, into: Pixels | None, clock: Clock) -> DrawnImage:
    missing, files = tuple[int, ...](), list[Pixels]()
    pixels: dict[str, Values] = {}
    parts: list[Pixels] = []

    def made(image: Pixels, size: int) -> Canvas:
        for measure in plan.measures:
            pixels.update(measure.of_file(image, size))
            parts.extend(np.ascontiguousarray(plan.encoded(part)) for part in measure.parts(image))
        return plan.canvas(image)

    pixels_hash, canvas = read_image(sample, source, made, clock)
    if isinstance(source, PairedSource):
        views, seeds, missing = read_views(canvas.image, sample, source, plan, clock, into)
    else:
        with clock.at("draw"):
            seed, draws = plan.config.seed, plan.config.draws
            views, seeds = draw_views(
                canvas, sample.image_id, plan.suite, seed=seed, draws=draws, before_each=clock.on_stage, into=into,
                files=files if plan.encodes_files else None,
            )  # fmt: skip
    clock.stage = "measure"
    clock.on_stage()
    for measure in plan.measures:
        pixels |= measure.of_pixels(views) | measure.of_seeds(views, seeds[1:], plan, canvas)
    clock.lap("pixels")
    file = canvas if canvas.to_input else None
    own_sizes = tuple(files), tuple(parts)
    return DrawnImage(sample, pixels_hash, views, seeds, pixels, clock.seconds, missing, file, *own_sizes)


def read_image(sample: ImageRef, source: Source, make: Callable[[Pixels, int], T], clock: Clock) -> tuple[str, T]:
    """Returns a hash of the pixels, and the result of `make` for them and the file's size in bytes."""
    with clock.at("read"):
        data = source.read(sample)
    with clock.at("decode"):
        image = images.decode(data)
        return images.pixels_hash(image), make(image, len(data))  # the image itself may be large and is not kept


def _memory_error(error: BaseException | None) -> MemoryError | None:
    while error is not None and not isinstance(error, MemoryError):
        error = error.__cause__
    return error


def read_views(
    original: Pixels, sample: ImageRef, source: PairedSource, plan: Plan, clock: Clock, into: Pixels | None = None
) -> tuple[Pixels, list[int], tuple[int, ...]]:
    views, draws = [original], plan.config.draws
    seeds, missing = [0], list[int]()
    for draw in range(draws):
        drawn: dict[str, Pixels | None] = {ORIGINAL: original}
        for augmentation in plan.suite:
            name = augmentation.name
            if isinstance(augmentation, Purified):  # it follows the view from which it is made
                with clock.at("draw"):
                    source_view = drawn[augmentation.source]
                    drawn[name] = None if source_view is None else augmentation.draw(source_view, 0)
            else:
                drawn[name] = _variant(folder_of(name, draw, draws), sample, source, plan, clock)
            seeded = isinstance(augmentation, Variant) and augmentation.from_views_file
            seeds.append(view_seed(plan.config.seed, sample.image_id, augmentation.seed_name, draw) if seeded else 0)
            missing += [len(views)] if drawn[name] is None else []
            views.append(original if (view := drawn[name]) is None else view)
    return np.stack(views, out=into), seeds, tuple(missing)


def _variant(name: str, sample: ImageRef, source: PairedSource, plan: Plan, clock: Clock) -> Pixels | None:
    variant = source.variant(name, sample)
    if variant is None:
        return None
    try:
        with clock.at("read"):
            if variant.problem is not None:
                raise EmbedshiftError(variant.problem)
            data = source.read_variant(name, variant)
        with clock.at("decode"):
            return plan.to_input(images.decode(data))
    except Exception as error:
        raise EmbedshiftError(f"{name}: {cause(error)}") from error
