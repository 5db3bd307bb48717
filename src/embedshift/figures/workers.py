"""Renders figures in new processes, one per core, while this process draws the next figure.

A process gets a figure as a pickle and returns its bytes; it reads and writes no file, and imports neither Polars nor
torch. Whatever it cannot do is done in this process, so that errors and warnings are the same.
"""

import collections
import contextlib
import functools
import os
import pickle
import queue
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from matplotlib.figure import Figure

from embedshift.config.machine import cores
from embedshift.figures.render import ForPage, Rendered, render

Key = TypeVar("Key")

# Figures for which a process is worth its start, and figures that wait for each.
_WORTH, _AHEAD = 4, 4
# First the path: folders that a notebook added may be needed to read a figure.
_CHILD = (
    "import pickle, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); sys.path[:] = "
    "pickle.load(sys.stdin.buffer); from embedshift.figures.workers import serve; serve()"
)


class Renderers:
    """Processes that render figures; leaving the context ends them."""

    def __init__(self, figures: int) -> None:
        self._count = min(cores(), figures // _WORTH) if cores() > 1 else 0
        self._processes: list[subprocess.Popen[bytes]] = []
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> "Renderers":
        for _ in range(self._count):
            with contextlib.suppress(OSError):  # no process could be started
                self._processes.append(_started())
        for process in self._processes:
            self._idle.put(process)
        if self._processes:
            self._threads = ThreadPoolExecutor(len(self._processes))
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            with contextlib.suppress(OSError):
                process.communicate()

    def render_all(
        self, figures: Iterable[tuple[Key, Figure, ForPage | None]], formats: Sequence[str]
    ) -> Iterator[tuple[Key, Rendered]]:
        """Yields figures as `render` returns them, in order; the next are drawn and rendered meanwhile."""
        waiting: collections.deque[tuple[Key, Callable[[], Rendered]]] = collections.deque()
        for key, figure, page in figures:
            waiting.append((key, self._begun(figure, formats, page)))
            if len(waiting) > _AHEAD * len(self._processes):
                first, rendered = waiting.popleft()
                yield first, rendered()
        for key, rendered in waiting:
            yield key, rendered()

    def _begun(self, figure: Figure, formats: Sequence[str], page: ForPage | None) -> Callable[[], Rendered]:
        here = functools.partial(render, figure, formats, page)
        if self._threads is None:
            return here
        try:
            pickled = pickle.dumps((figure, formats, page), pickle.HIGHEST_PROTOCOL)
        except Exception:  # a user's figure may hold objects that cannot be pickled
            return here
        asked = self._threads.submit(self._ask, pickled)
        return lambda: asked.result() or here()

    def _ask(self, pickled: bytes) -> Rendered | None:
        process = self._idle.get()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump(pickled, process.stdin, pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            found: Rendered | None = pickle.load(process.stdout)
        except (OSError, ValueError, EOFError, pickle.UnpicklingError):  # it has ended
            return None
        finally:
            self._idle.put(process)
        return found


def _started() -> "subprocess.Popen[bytes]":
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-c", _CHILD], **pipes)
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.write(pickle.dumps(sys.path))
        process.stdin.flush()
    return process


def serve() -> None:
    """Runs a process: reads a figure, returns its bytes; None if it cannot render it."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of a library is no answer
    warnings.simplefilter("error", UserWarning)
    while True:
        try:
            pickled = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            found = render(*pickle.loads(pickled))
        except Exception:  # it occurs again when the figure is requested
            found = None
        pickle.dump(found, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()
