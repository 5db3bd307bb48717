"""Renders figures in other processes while this process draws the next figure, and then renders what is left.

A figure that a process cannot render, or does not in time, is rendered here, so that its errors and warnings are the
same.
"""

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import types
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from multiprocessing import resource_tracker
from typing import TypeVar

from matplotlib.figure import Figure

from embedshift.config.machine import cores, end_with_parent
from embedshift.figures.render import PageLimits, Rendered, render

Key = TypeVar("Key")
ToRender = tuple[Figure, Sequence[str], PageLimits | None]

# Figures for which a process is worth its start, and figures that wait for each process.
_WORTH, _AHEAD = 4, 8
# Seconds for the start of a process and a figure; beyond them it may be stopped.
_PATIENCE = 120.0
# New objects after which Python looks for garbage among them; a figure has tens of thousands, and needs them all.
_OBJECTS = 50_000


class Renderers:
    """Processes that render figures; leaving the context ends them. For a few `figures` none is started."""

    def __init__(self, figures: int) -> None:
        alone = multiprocessing.current_process().daemon  # a daemon may start no process
        self._count = 0 if alone else min(cores() - 1, figures // _WORTH)
        self._pool: ProcessPoolExecutor | None = None
        self._threshold = gc.get_threshold()[0]

    def __enter__(self) -> "Renderers":
        gc.set_threshold(_OBJECTS)
        if self._count:
            _start_tracker()
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self._count, mp_context=spawn, initializer=_set_up, initargs=(os.getpid(),)
            )
            with _without_main_module(), _interrupts_blocked(), contextlib.suppress(OSError):  # none could be started
                for _ in range(self._count):
                    self._pool.submit(os.getpid)  # starts a process
        return self

    def __exit__(self, *_: object) -> None:
        gc.set_threshold(self._threshold)
        if self._pool is not None:
            self._end()
            self._pool.shutdown(cancel_futures=True)

    def render_all(
        self, figures: Iterable[tuple[Key, Figure, PageLimits | None]], formats: Sequence[str]
    ) -> Iterator[tuple[Key, Rendered]]:
        """Yields figures as `render` returns them, in order; the next are drawn and rendered meanwhile."""
        waiting = deque[tuple[Key, ToRender, Future[Rendered] | None]]()
        for key, figure, page in figures:
            given = figure, formats, page
            waiting.append((key, given, self._begin(given)))
            if len(waiting) > _AHEAD * self._count:
                first, given, future = waiting.popleft()
                yield first, self._finish(given, future)
        # Of those that no process has begun, this process renders the last ones.
        left = reversed(list(waiting)[self._count :])
        here = {key: render(*given) for key, given, future in left if future and future.cancel()}
        for key, given, future in waiting:
            yield key, here.pop(key) if key in here else self._finish(given, future)

    def _begin(self, given: ToRender) -> Future[Rendered] | None:
        with contextlib.suppress(BrokenExecutor, OSError):
            return self._pool.submit(render, *given) if self._pool else None
        return None

    def _finish(self, given: ToRender, future: Future[Rendered] | None) -> Rendered:
        try:
            if future:
                return future.result(_PATIENCE)
        except TimeoutError:
            self._end()
        except Exception:  # of the figure, of its pickle, or because the process has ended
            pass
        return render(*given)

    def _end(self) -> None:
        """Ends the processes, also those that are stopped, for which `shutdown` would wait."""
        for process in list(((self._pool and self._pool._processes) or {}).values()):
            process.kill()


def _set_up(parent: int) -> None:
    """Prepares a process: it ends with its parent, at Ctrl-C without a traceback, and a warning is an error."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    warnings.simplefilter("error", UserWarning)
    gc.set_threshold(_OBJECTS)
    end_with_parent(parent)


def _start_tracker() -> None:
    """Starts the process that removes the semaphores of the pool, without its warning where a signal ends us first.

    The pool would start it too, but that unblocks the signals.
    """
    sys.warnoptions.append(silent := "ignore:resource_tracker:UserWarning")  # it inherits them as arguments
    resource_tracker.ensure_running()
    sys.warnoptions.remove(silent)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Lets Ctrl-C wait, also in processes started meanwhile: while they import, they would print a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _without_main_module() -> Iterator[None]:
    """Hides the main module: a new process would run a user's script again that has no `if __name__ == "__main__"`."""
    main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
