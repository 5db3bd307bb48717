"""Ctrl-C, and the signals by which a system ends a command: it leaves within seconds, with one line and a code."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

STOPPED = "stopped; run the same command again to go on where it stopped"
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SECONDS = 3.0  # to leave in order
_SHOW_CURSOR = b"\x1b[?25h"


class Signalled(BaseException):
    """The command was told to end. No error of an image or of a library, so that none of what catches those sees it.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(STOPPED)
        self.exit_code = 128 + number


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """While entered, the first signal raises `Signalled`; a second one, or some seconds, end the process at once.

    Nothing is lost by that: a study is whole after every SIGKILL. A process that was forked meanwhile ends as if none
    of this had been set up, and a signal that is ignored, as by `nohup`, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process, before = os.getpid(), {number: signal.getsignal(number) for number in SIGNALS}

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        for each in SIGNALS:
            signal.signal(each, _leave)
        timer = threading.Timer(SECONDS, _leave, (number, None))
        timer.daemon = True
        timer.start()
        raise Signalled(number)

    caught = [number for number in SIGNALS if before[number] in (signal.SIG_DFL, signal.default_int_handler)]
    for number in caught:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, before[number])


def wake_blocked_calls() -> None:
    """Lets a signal end a call that waits, as for a file on a slow disk: Polars, once imported, has it go on."""
    for number in SIGNALS:
        signal.siginterrupt(number, True)


def _leave(number: int, _frame: FrameType | None) -> None:
    with contextlib.suppress(OSError):
        os.write(2, (_SHOW_CURSOR if os.isatty(2) else b"") + f"error: {STOPPED}\n".encode())
    os._exit(128 + number)
