"""A time limit for one step of an image, so that no image can hang a run."""

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
# What this process also does when a step begins.
AT_EACH_STEP: list[Callable[[], None]] = []


class TookTooLong(BaseException):
    """A step ran out of time. It is no `Exception`, because code that hangs may catch those."""


@contextlib.contextmanager
def time_limit(seconds: float, *, ends_process: bool = False) -> Iterator[Callable[[], None]]:
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def stop(_number: int, _frame: object) -> None:
        raise TookTooLong

    def next_step() -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        if ends_process:
            faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=_nowhere())
        for action in AT_EACH_STEP:
            action()

    handler, timer = signal.signal(signal.SIGALRM, stop), signal.getitimer(signal.ITIMER_REAL)
    try:
        next_step()
        yield next_step
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)
        if ends_process:
            faulthandler.cancel_dump_traceback_later()


@functools.cache
def _nowhere() -> TextIO:
    return open(os.devnull, "w")
