"""Loader processes: they read, decode and draw images ahead of the encoder, which takes them in order.

Each process has its own pipe with one holder of the other end, so its death, even while it sends, loses no image of
other processes. A process that does not answer is ended. The image that it was drawing, or one that took too long or
too much memory, is tried once more, alone in a new process; a second failure fails the image, and the run continues.
"""

import collections
import concurrent.futures
import contextlib
import functools
import mmap
import multiprocessing
import os
import signal
import socket
import struct
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, SpawnContext
from typing import Any, Protocol

import numpy as np

from embedshift.arrays import Pixels
from embedshift.config.processes import end_with_parent, one_thread, one_thread_of
from embedshift.errors import EmbedshiftError
from embedshift.pipeline.draw import GRACE, TookTooLong, draw_image, stopped_failure
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.plan import Plan
from embedshift.registry.extras import cv2
from embedshift.sources import ImageRef, Source

# The result for an image, such as a `DrawnImage` or the hash of its pixels; else a `Failure`.
ImageResult = Any
# Bytes of views at each loader, and of views that the encoder has not taken yet; at least one image each.
BYTES_AHEAD = 16 * 2**20
# Maximum images ahead if views are small: a full pipe, of about a thousand requests, would block this process.
MOST_AHEAD = 256
# Errors of a pipe whose other end is gone or does not read.
GONE = (EOFError, ConnectionError, BlockingIOError)
# Seconds after which a loader reports a new step, and seconds beyond a step's limit without a report.
WORD, PATIENCE = 1.0, 30.0
# Errors that end the drawing of an image without an image or a failure.
ENDED = (TookTooLong, MemoryError, *GONE)
# A process forked while another's pipe is made would keep its end open.
_ONE_FORK = threading.Lock()


class ViewSlots:
    """Slots for the views of some images in memory shared with forked processes, so that views are not copied."""

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        self._shape, self._bytes = shape, int(np.prod(shape))
        self._memory: mmap.mmap | None = None
        # Without it, views come through the pipe.
        with contextlib.suppress(OSError, ValueError, OverflowError):
            # Anonymous: not limited by the size of /dev/shm, and freed with the processes.
            self._memory = mmap.mmap(-1, count * self._bytes)
        self._free = [*range(count)] if self._memory else []

    def take(self) -> int | None:
        """Returns a free slot for a loader to write to; None if none is free."""
        return self._free.pop() if self._free else None  # the last used, which may be in a cache

    def release(self, slot: int | None) -> None:
        if slot is not None:
            self._free.append(slot)

    def views(self, slot: int) -> Pixels:
        assert self._memory is not None, "there is no slot"
        return np.frombuffer(self._memory, np.uint8, self._bytes, slot * self._bytes).reshape(self._shape)

    def lend(self, slot: int) -> Pixels:
        """Returns the slot as an array; it becomes free when nothing refers to the array or a part of it."""
        views = self.views(slot)
        # Parts of an array refer to the flat array around the memory, not to the array from which they were cut.
        weakref.finalize(views.base, self._free.append, slot).atexit = False
        return views


class ImagePlan(Protocol):
    """The requirements of loaders on a plan: the time limit of its settings, and the bytes of an image's views."""

    @property
    def config(self) -> Any: ...
    @property
    def bytes_per_image(self) -> int: ...


@dataclass(frozen=True)
class Images:
    samples: Sequence[ImageRef]
    source: Source
    plan: ImagePlan
    work: Callable[..., ImageResult]

    def view_slots(self, workers: int) -> ViewSlots:
        plan = self.plan
        if not isinstance(plan, Plan) or self.work is not draw_image or not isinstance(_context(), ForkContext):
            return ViewSlots(0, ())
        views, size = 1 + plan.views, plan.encoder.size
        # Images drawn ahead, and images waiting for two passes of the encoder.
        images = _ahead(plan, workers) + 2 * plan.batch_size // views + 2
        return ViewSlots(-(-images // workers) + 1, (views, size, size, 3))


def draw_all(images: Images, workers: int, *, in_turns: bool = False) -> Generator[ImageResult, None, None]:
    if not workers:
        for index, sample in enumerate(images.samples):
            yield _drawn(images, index, functools.partial(images.work, sample, images.source, images.plan))
        return
    if _is_daemon():
        raise EmbedshiftError("a process of a pool cannot start loader processes; use `workers` 0 there")
    with contextlib.ExitStack() as stack:
        loaders = [stack.enter_context(_Loader(images, workers)) for _ in range(workers)]
        waiting: collections.deque[int] = collections.deque()
        most = _ahead(images.plan, workers)
        # The first turns are short, so that the encoder starts soon.
        turn = workers if in_turns else most
        for requested in range(len(images.samples)):
            waiting.append(requested)
            loaders[requested % workers].request(requested)
            due = max(0, len(waiting) - most)
            if in_turns and len(waiting) == turn:
                for loader in loaders:
                    loader.wait()
                due, turn = turn, min(most, 2 * turn)
            if requested == len(images.samples) - 1:
                due = len(waiting)
            for _ in range(due):
                index = waiting.popleft()
                yield _drawn(images, index, functools.partial(loaders[index % workers].take, index))


def _ahead(plan: ImagePlan, workers: int) -> int:
    return max(workers, min(MOST_AHEAD, (1 + workers) * BYTES_AHEAD // plan.bytes_per_image))


def _drawn(images: Images, index: int, first: Callable[[], ImageResult]) -> ImageResult:
    """Draws an image alone if the first try ended; returns a failure if both did, or no process can be started."""
    try:
        return first()
    except ENDED as error:
        if _is_daemon():
            return stopped_failure(images.samples[index], error, images.plan.config.image_timeout, "once")
    try:
        with _Loader(images) as alone:
            alone.request(index)
            return alone.take(index)
    except ENDED as error:
        return stopped_failure(images.samples[index], error, images.plan.config.image_timeout, "twice")


class _Loader:
    def __init__(self, images: Images, workers: int = 1) -> None:
        self._images, self._workers = images, workers
        self._requested: dict[int, Future[ImageResult]] = {}

    def __enter__(self) -> "_Loader":
        context = _context()
        self._slots = self._images.view_slots(self._workers)  # new ones, since an ended process may hold some
        with _ONE_FORK, one_thread_of(cv2.getNumThreads, cv2.setNumThreads):
            self._pipe, child_end = context.Pipe()
            arguments = child_end, self._images, self._slots, os.getpid()
            self.process = context.Process(target=_serve, args=arguments, daemon=True)
            self.process.start()
            child_end.close()
        limit_waits(self._pipe, self._images.plan.config.image_timeout + GRACE + PATIENCE)
        # It takes drawn images while the encoder works; otherwise a loader would wait.
        self._thread = ThreadPoolExecutor(1)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()  # it may hang or be stopped, and its images are not needed
        self.process.join()
        self._thread.shutdown(cancel_futures=True)
        self._pipe.close()

    def request(self, index: int) -> None:
        slot = self._slots.take()
        with contextlib.suppress(*GONE):  # the error occurs again when the image is taken
            self._pipe.send((index, slot))
        self._requested[index] = self._thread.submit(self._receive, self._slots, slot)

    def wait(self) -> None:
        concurrent.futures.wait(self._requested.values())

    def take(self, index: int) -> ImageResult:
        """Returns the image; raises one of `ENDED`. A new process then continues with the next image."""
        try:
            return self._requested.pop(index).result()
        except GONE:
            self.__exit__()
            self.__enter__()
            for waiting in list(self._requested):
                self.request(waiting)
            raise

    def _receive(self, slots: ViewSlots, slot: int | None) -> ImageResult:
        try:
            while (result := self._pipe.recv()) is None:  # a new step has begun
                pass
        except OSError as error:  # also when its time limit has passed
            raise EOFError from error
        if slot is not None and isinstance(result, DrawnImage):
            return replace(result, views=slots.lend(slot))
        slots.release(slot)
        if isinstance(result, BaseException):
            raise result
        return result


def limit_waits(pipe: "Connection[Any, Any]", seconds: float) -> None:
    """Limits the wait of this end of a pipe for the other, which may be stopped, even within a message."""
    # The system starts again if this process was stopped, as by Ctrl-Z.
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    with socket.socket(fileno=os.dup(pipe.fileno())) as end:
        end.setblocking(True)  # whatever `socket.setdefaulttimeout` says
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            end.setsockopt(socket.SOL_SOCKET, option, limit)


def _serve(
    pipe: "Connection[ImageResult, tuple[int, int | None]]", images: Images, slots: ViewSlots, parent: int
) -> None:
    one_thread()  # other cores belong to other loaders and the encoder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its loaders
    end_with_parent(parent)  # it would wait forever to hand over its images
    said = time.monotonic()

    def tell_parent() -> None:
        nonlocal said
        if (now := time.monotonic()) - said > WORD:
            said = now
            pipe.send(None)

    with contextlib.suppress(*GONE):
        while True:
            index, slot = pipe.recv()
            try:
                into = {} if slot is None else {"into": slots.views(slot)}
                result = images.work(images.samples[index], images.source, images.plan, on_step=tell_parent, **into)
                if slot is not None and isinstance(result, DrawnImage):
                    result = result.without_views()
            except BaseException as error:
                result = error
            pipe.send(result)


def _is_daemon() -> bool:
    return multiprocessing.current_process().daemon


def _context() -> ForkContext | SpawnContext:
    # Forked workers inherit the user's augmentations, even lambdas. macOS's libraries do not survive a fork.
    return multiprocessing.get_context("fork") if sys.platform == "linux" else multiprocessing.get_context("spawn")
