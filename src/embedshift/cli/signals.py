"""Handles Ctrl-C and other signals that end a command: it exits within seconds, with one line and an exit code."""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType

STOPPED = "stopped; run the same command again"
# Commands that go on where they were stopped.
RESUMABLE = ("run", "demo", "attack", "views")
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SECONDS = 3.0  # for an orderly exit
_SHOW_CURSOR = b"\x1b[?25h"


class Signalled(BaseException):
    """A signal told the command to end. It is no `Exception`, so that code which handles those does not catch it."""


def stopped() -> str:
    return f"{STOPPED} to resume" if sys.argv[1:2] and sys.argv[1] in RESUMABLE else STOPPED


@contextlib.contextmanager
def stoppable() -> Iterator[list[int]]:
    """Gives the list of received signals: the first raises `Signalled`, a second or some seconds end the process."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    process, before = os.getpid(), {number: signal.getsignal(number) for number in SIGNALS}

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        for caught_signal in caught:
            signal.signal(caught_signal, lambda *_: None)  # the thread gets further ones
        received.append(number)
        raise Signalled(stopped())

    caught = [number for number in SIGNALS if before[number] in (signal.SIG_DFL, signal.default_int_handler)]
    with _watched(caught):
        for number in caught:
            signal.signal(number, on_signal)
        hook = sys.unraisablehook
        sys.unraisablehook = lambda raised: None if isinstance(raised.exc_value, Signalled) else hook(raised)
        try:
            yield received
        finally:
            sys.unraisablehook = hook
            for number in caught:
                signal.signal(number, before[number])


@contextlib.contextmanager
def _watched(caught: list[signal.Signals]) -> Iterator[None]:
    """Starts a thread that also gets every signal: the main one may wait in C, where no Python handler is called."""
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_leave_in_time, args=(receiver, caught), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        sender.close()


def _leave_in_time(receiver: socket.socket, caught: list[signal.Signals]) -> None:
    with receiver:
        first = second = _next(receiver, caught)
        receiver.settimeout(SECONDS)
        with contextlib.suppress(TimeoutError):
            second = _next(receiver, caught)
    if first and second:
        _leave(first)


def _next(receiver: socket.socket, caught: list[signal.Signals]) -> int:
    while (number := int.from_bytes(receiver.recv(1), "big")) and number not in caught:
        pass
    return number  # 0: the listener has gone


def _leave(number: int) -> None:
    with contextlib.suppress(OSError):
        os.write(2, (_SHOW_CURSOR if os.isatty(2) else b"") + f"error: {stopped()}\n".encode())
    os._exit(128 + number)


if hasattr(os, "register_at_fork"):  # a fork leaves its parent's socket, so that its signals do not end the parent
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
