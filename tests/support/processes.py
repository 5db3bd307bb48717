"""Python text in a process of its own, and what became of processes."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have started."""
    found = []
    for started in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # of a thread that ended meanwhile
            found += [int(child) for child in started.read_text().split()]
    return found + [each for child in found for each in descendants(child)]


def run_python(text: str, *arguments: str, timeout: float | None = None) -> str:
    """Runs Python text in a new process, and gives what it printed."""
    command = [sys.executable, "-c", textwrap.dedent(text), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout


def children() -> list[int]:
    """The processes of this one that run, but for Python's own that removes semaphores and stays once it was needed."""
    with open(f"/proc/self/task/{threading.get_native_id()}/children") as file:
        running = [int(pid) for pid in file.read().split() if state(int(pid)) not in "XZ"]
    return [pid for pid in running if "resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_text()]


def state(pid: int) -> str:
    """What a process does, in the system's own letter: T if it is stopped, Z if it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]
    return "Z"


def group_is_gone(group: int, seconds: float = 10) -> bool:
    """Whether no process of a group is left, after some seconds at most; those that are left are ended."""
    for _ in range(int(seconds / 0.05)):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    return False
