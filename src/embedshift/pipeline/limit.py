"""A limit on the time of one step of an image, so that none can hang a run."""

import contextlib
import faulthandler
import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import TextIO

# Seconds that a step has to end itself before its process is ended.
GRACE = 5.0


class TookTooLong(BaseException):
    """A step that ran out of time. Not an `Exception`, which code that hangs may catch."""


@contextlib.contextmanager
def time_limit(seconds: float, *, ends_process: bool = False) -> Iterator[Callable[[], None]]:
    """Raises `TookTooLong` in the block when a step takes longer.

    An alarm ends what waits, and what runs in Python. A library that never comes back to Python hears no alarm: a
    process that may be ended is ended. There is no limit in another thread than the main one, which alone hears alarms.

    Args:
        seconds: Of one step.
        ends_process: Whether this process may be ended, some seconds later.

    Yields:
        A function to call at the beginning of every further step.

    Example:
        >>> with time_limit(60) as next_step:
        ...     next_step()
    """
    if threading.current_thread() is not threading.main_thread():
        yield _nothing
        return

    def stop(_number: int, _frame: object) -> None:
        raise TookTooLong

    def next_step() -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        if ends_process:
            faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=_nowhere())

    handler, timer = signal.signal(signal.SIGALRM, stop), signal.getitimer(signal.ITIMER_REAL)
    try:
        next_step()
        yield next_step
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)
        if ends_process:
            faulthandler.cancel_dump_traceback_later()


def _nothing() -> None:
    """The next step where nothing limits it."""


@functools.cache
def _nowhere() -> TextIO:
    return open(os.devnull, "w")
