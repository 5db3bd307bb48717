"""Renders figures in other processes, while this one draws the next figure, and renders those that would wait.

A figure that a process cannot render, or does not in time, is rendered here, so that its errors and warnings are the
same.
"""

import contextlib
import functools
import gc
import multiprocessing
import os
import signal
import sys
import types
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from multiprocessing import resource_tracker
from typing import TypeVar

from matplotlib.figure import Figure

from embedshift.config.processes import OBJECTS, collecting_garbage_after, cores, end_with_parent
from embedshift.figures.render import PageLimits, Rendered, render

Key = TypeVar("Key")

# Figures for which a process is worth its start, that wait for each process, and that wait for an earlier one.
_WORTH, _AHEAD, _FINISHED = 4, 2, 16
# Seconds for the start of a process and a figure; beyond them it may be stopped.
_PATIENCE = 120.0


class Renderers:
    """Processes that render figures; leaving the context ends them. For a few `figures` none is started."""

    def __init__(self, figures: int) -> None:
        alone = multiprocessing.current_process().daemon  # a daemon may start no process
        self._count = 0 if alone else min(cores() - 1, figures // _WORTH)
        self._waiting = list[Future[Rendered]]()
        self._pool: ProcessPoolExecutor | None = None
        self._collecting = collecting_garbage_after(OBJECTS)

    def __enter__(self) -> "Renderers":
        self._collecting.__enter__()
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
        self._collecting.__exit__(None, None, None)
        if self._pool is not None:
            self._end()
            self._pool.shutdown(cancel_futures=True)

    def render_all(
        self, figures: Iterable[tuple[Key, Figure, PageLimits | None]], formats: Sequence[str]
    ) -> Iterator[tuple[Key, Rendered]]:
        """Yields figures as `render` returns them, in order; the next are drawn and rendered meanwhile."""
        waiting = deque[tuple[Key, Callable[[], Rendered]]]()
        for key, figure, page in figures:
            waiting.append((key, self._start(figure, formats, page)))
            if len(waiting) > _FINISHED:
                first, rendered = waiting.popleft()
                yield first, rendered()
        for key, rendered in waiting:
            yield key, rendered()

    def _start(self, figure: Figure, formats: Sequence[str], page: PageLimits | None) -> Callable[[], Rendered]:
        render_here = functools.partial(render, figure, formats, page)
        self._waiting = [future for future in self._waiting if not future.done()]
        if self._pool is None or len(self._waiting) >= _AHEAD * self._count:
            done = render_here()
            return lambda: done
        try:
            future = self._pool.submit(render, figure, formats, page)
        except (BrokenExecutor, OSError):
            return render_here
        self._waiting.append(future)

        def rendered() -> Rendered:
            try:
                return future.result(_PATIENCE)
            except TimeoutError:
                self._end()
            except Exception:  # of the figure, of its pickle, or because the process has ended
                pass
            return render_here()

        return rendered

    def _end(self) -> None:
        """Ends the processes, also those that are stopped, for which `shutdown` would wait."""
        for process in list(((self._pool and self._pool._processes) or {}).values()):
            process.kill()


def _set_up(parent: int) -> None:
    """Prepares a process: it ends with its parent, at Ctrl-C without a traceback, and a warning is an error."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    warnings.simplefilter("error", UserWarning)
    gc.set_threshold(OBJECTS)
    end_with_parent(parent)


def _start_tracker() -> None:
    # The pool would start it too, but that unblocks the signals.
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
