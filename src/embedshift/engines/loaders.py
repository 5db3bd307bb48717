"""Loader processes: they read, decode and draw images ahead of the encoder, which takes them in order.

Each process has its own pipe, whose other end nobody else holds. If a process ends, even while it sends, this side
reads the end of the pipe, and images of the other processes are not lost. The image that it was drawing is tried once
more, alone in a new process; so is an image that took too long or too much memory. If that fails in the same way, the
image is a failure, and the run continues.
"""

import collections
import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, SpawnContext
from typing import Any

import cv2
from threadpoolctl import threadpool_limits

from embedshift.arrays import Pixels
from embedshift.engines.rooms import Rooms
from embedshift.errors import EmbedshiftError
from embedshift.pipeline.draw import DrawnImage, draw_image, out_of_reach
from embedshift.pipeline.limit import TookTooLong
from embedshift.pipeline.plan import Plan
from embedshift.sources import ImageRef, Source

# The result for an image: a `DrawnImage`, or the hash of its pixels; else a `Failure`.
Made = Any
# Of views at each loader and as many that the encoder has not taken yet; never less than one image each.
BYTES_AHEAD = 16 * 2**20
# Of images, if views are small. A pipe holds the requests for about a thousand; a full one would block this process.
MOST_AHEAD = 256
# Errors of a pipe whose other end is gone.
GONE = (EOFError, ConnectionError)
# Errors that end the drawing of an image without an image or a failure.
ENDED = (TookTooLong, MemoryError, *GONE)
# A process that is forked while another's pipe is made would keep the end of that open.
_ONE_FORK = threading.Lock()


@dataclass(frozen=True)
class Images:
    """Images to draw."""

    samples: Sequence[ImageRef]
    source: Source
    plan: Plan
    work: Callable[..., Made]

    def draw(self, place: int, *, ends_process: bool = False, into: Pixels | None = None) -> Made:
        """Draws one image, its views into an array if one is given; raises one of `ENDED`."""
        where = {} if into is None else {"into": into}
        return self.work(self.samples[place], self.source, self.plan, ends_process=ends_process, **where)

    def rooms(self, workers: int) -> Rooms:
        """Returns the memory in which one of `workers` loaders puts its views."""
        plan = self.plan
        views, size = 1 + plan.views, plan.preprocess.size
        # Images drawn ahead, and those that wait for two passes of the encoder.
        images = _ahead(plan, workers) + 2 * plan.batch_size // views + 2
        shared = self.work is draw_image and isinstance(_context(), ForkContext)
        return Rooms(-(-images // workers) + 1 if shared else 0, (views, size, size, 3))


def draw_all(images: Images, workers: int, *, in_turns: bool = False) -> Generator[Made, None, None]:
    """Yields all images in order, drawn ahead by `workers` processes."""
    if not workers:
        for place in range(len(images.samples)):
            yield _at_second_try(images, place, lambda place=place: images.draw(place))  # type: ignore[misc]
        return
    if _is_daemon():
        raise EmbedshiftError("a process of a pool cannot start loader processes; use `workers` 0 there")
    with contextlib.ExitStack() as stack:
        loaders = [stack.enter_context(_Loader(images, workers)) for _ in range(workers)]
        waiting: collections.deque[int] = collections.deque()
        most = _ahead(images.plan, workers)
        # The first turns are short: the encoder soon has something to do.
        turn = workers if in_turns else most
        for place in range(len(images.samples)):
            waiting.append(place)
            loaders[place % workers].ask(place)
            if in_turns and len(waiting) == turn:
                for loader in loaders:
                    loader.wait()
                yield from (_taken(images, each, loaders) for each in waiting)
                waiting.clear()
                turn = min(most, 2 * turn)
            elif len(waiting) > most:
                yield _taken(images, waiting.popleft(), loaders)
        while waiting:
            yield _taken(images, waiting.popleft(), loaders)


def _ahead(plan: Plan, workers: int) -> int:
    """Returns how many images are requested at a time."""
    of_image = (1 + plan.views) * plan.preprocess.size**2 * 3
    return max(workers, min(MOST_AHEAD, (1 + workers) * BYTES_AHEAD // of_image))


def _taken(images: Images, place: int, loaders: Sequence["_Loader"]) -> Made:
    return _at_second_try(images, place, lambda: loaders[place % len(loaders)].take(place))


def _at_second_try(images: Images, place: int, first: Callable[[], Made]) -> Made:
    """Draws an image alone if the first try ended; returns a failure if both did, or no process can be started."""
    try:
        return first()
    except ENDED as error:
        if _is_daemon():
            return out_of_reach(images.samples[place], error, images.plan.config.image_timeout, "once")
    try:
        with _Loader(images) as alone:
            alone.ask(place)
            return alone.take(place)
    except ENDED as error:
        return out_of_reach(images.samples[place], error, images.plan.config.image_timeout, "twice")


class _Loader:
    """A process that draws the requested images one after the other."""

    def __init__(self, images: Images, workers: int = 1) -> None:
        self._images, self._workers = images, workers
        self._asked: dict[int, Future[Made]] = {}

    def __enter__(self) -> "_Loader":
        context = _context()
        self._rooms = self._images.rooms(self._workers)  # new ones where a process has ended that may hold some
        with _ONE_FORK, _one_opencv_thread():
            self._pipe, theirs = context.Pipe()
            self.process = context.Process(target=_serve, args=(theirs, self._images, self._rooms), daemon=True)
            self.process.start()
            theirs.close()
        # It takes drawn images while the encoder works; otherwise a loader would wait.
        self._thread = ThreadPoolExecutor(1)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()  # it may hang, and its images are not needed any more
        self.process.join()
        self._thread.shutdown(cancel_futures=True)
        self._pipe.close()

    def ask(self, place: int) -> None:
        """Requests an image, which is drawn after those requested before."""
        room = self._rooms.take()
        with contextlib.suppress(*GONE):  # the error occurs again when the image is taken
            self._pipe.send((place, room))
        self._asked[place] = self._thread.submit(self._receive, self._rooms, room)

    def wait(self) -> None:
        """Waits until every requested image is drawn, or the process has ended."""
        concurrent.futures.wait(self._asked.values())

    def take(self, place: int) -> Made:
        """Returns the image; raises one of `ENDED`. If the process has ended, a new one goes on with the next image."""
        try:
            return self._asked.pop(place).result()
        except GONE:
            self.__exit__()
            self.__enter__()
            for left in list(self._asked):
                self.ask(left)
            raise

    def _receive(self, rooms: Rooms, room: int | None) -> Made:
        made = receive(self._pipe)
        if room is not None and isinstance(made, DrawnImage):
            return replace(made, views=rooms.lend(room))
        rooms.give_back(room)
        if isinstance(made, BaseException):
            raise made
        return made


def receive(pipe: "Connection[Any, Any]") -> Any:
    """Returns the next message of another process; raises one of `GONE` if it ended, even within a message."""
    try:
        return pipe.recv()
    except OSError as error:
        raise EOFError from error


def _serve(pipe: "Connection[Made, tuple[int, int | None]]", images: Images, rooms: Rooms) -> None:
    """Runs a loader."""
    threadpool_limits(1)  # the other cores are those of other loaders, and of the encoder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends its loaders
    parent = os.getppid()

    def watch() -> None:
        # A loader whose parent was killed would wait for ever to hand over its images.
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    with contextlib.suppress(*GONE):
        while True:
            place, room = pipe.recv()
            try:
                made = images.draw(place, ends_process=True, into=None if room is None else rooms.views(room))
                if room is not None and isinstance(made, DrawnImage):
                    made = made.without_views()
            except BaseException as error:
                made = error
            pipe.send(made)


@contextlib.contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Sets OpenCV to one thread while workers are forked, and back."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _is_daemon() -> bool:
    """Returns whether this process may have no children, as those of `multiprocessing.Pool`."""
    return multiprocessing.current_process().daemon


def _context() -> ForkContext | SpawnContext:
    # Forked workers take the user's own augmentations along, lambdas too. macOS's libraries do not survive a fork.
    return multiprocessing.get_context("fork") if sys.platform == "linux" else multiprocessing.get_context("spawn")
