"""The processes below a process, and those of a group, by the system's own word."""

import contextlib
import os
import time
from collections.abc import Iterator


def descendants(pid: int, text: str = "") -> list[int]:
    """Processes below one, those whose command line holds a text."""
    parents = {each: int(stat[1]) for each, stat in _stats()}
    found, left = list[int](), [pid]
    while left:
        above = left.pop()
        below = [each for each, parent in parents.items() if parent == above]
        found, left = found + below, left + below
    return [each for each in found if text in _command(each)]


def end_of_group(group: int, seconds: float) -> list[str]:
    """Command lines of a group's processes that still run after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        left = [each for each, stat in _stats() if int(stat[2]) == group and stat[0] != "Z"]
        if not left or time.monotonic() > end:
            return [_command(each)[:80] for each in left]
        time.sleep(0.1)


def _stats() -> Iterator[tuple[int, list[str]]]:
    """Of every process what `/proc` says: its state, its parent and its group."""
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{int(name)}/stat") as file:
            yield int(name), file.read().rpartition(")")[2].split()


def _command(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().replace(b"\0", b" ").decode(errors="replace")
    return ""
