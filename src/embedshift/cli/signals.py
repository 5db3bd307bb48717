"""Handles Ctrl-C and other signals that end a command: it exits within seconds, with one line and an exit code."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType

STOPPED = "stopped; run the same command again to resume"
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SECONDS = 3.0  # for an orderly exit
_SHOW_CURSOR = b"\x1b[?25h"


class Signalled(BaseException):
    """A signal told the command to end. It is no `Exception`, so that code which handles those does not catch it."""

    def __init__(self, number: int) -> None:
        super().__init__(STOPPED)
        self.exit_code = 128 + number


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Inside the context the first signal raises `Signalled`; a second one, or some seconds, end the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process, before = os.getpid(), {number: signal.getsignal(number) for number in SIGNALS}

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        for each in caught:
            signal.signal(each, _noted)
        raise Signalled(number)

    caught = [number for number in SIGNALS if before[number] in (signal.SIG_DFL, signal.default_int_handler)]
    with _watched(caught):
        for number in caught:
            signal.signal(number, on_signal)
        try:
            yield
        finally:
            for number in caught:
                signal.signal(number, before[number])


@contextlib.contextmanager
def _watched(caught: list[signal.Signals]) -> Iterator[None]:
    """Starts a thread that also gets every signal: the main one may wait in C, where no Python handler is called."""
    heard, tells = socket.socketpair()
    tells.setblocking(False)
    before = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_leave_in_time, args=(heard, caught), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        tells.close()


def _leave_in_time(heard: socket.socket, caught: list[signal.Signals]) -> None:
    with heard:
        first = second = _next(heard, caught)
        heard.settimeout(SECONDS)
        with contextlib.suppress(TimeoutError):
            second = _next(heard, caught)
    if first and second:
        _leave(first)


def _next(heard: socket.socket, caught: list[signal.Signals]) -> int:
    while (number := int.from_bytes(heard.recv(1), "big")) and number not in caught:
        pass
    return number  # 0: the listener has gone


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Handles a further signal, which the thread gets."""


def _leave(number: int) -> None:
    with contextlib.suppress(OSError):
        os.write(2, (_SHOW_CURSOR if os.isatty(2) else b"") + f"error: {STOPPED}\n".encode())
    os._exit(128 + number)


def _deaf() -> None:
    """Disconnects a forked process from its parent's socket, so that its signals do not end the parent."""
    signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_deaf)
