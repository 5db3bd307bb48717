"""Detects forks of a process that has used Polars, which would hang for lack of its threads."""

import contextlib
import glob
import os
import re
from collections.abc import Iterator

from embedshift.errors import EmbedshiftError

_left_behind = False
_at_work = False


def watch_forks() -> None:
    os.register_at_fork(before=_before, after_in_child=_in_child)


def refuse_fork() -> None:
    """Refuses a process that was forked, for example by `multiprocessing`, after Polars was used."""
    if _left_behind:
        raise EmbedshiftError(
            "this process was forked from one in which Polars was at work, and would hang: start it by "
            'multiprocessing.get_context("spawn"), or before anything reads a table'
        )


def _before() -> None:
    global _at_work
    _at_work = any(re.fullmatch(r"polars-\d+", name) for name in _threads())


def _in_child() -> None:
    global _left_behind
    _left_behind = _left_behind or _at_work


def _threads() -> Iterator[str]:
    """Yields the names of this process's threads, if the system reports them; some may end meanwhile."""
    for path in glob.glob("/proc/self/task/*/comm"):
        with contextlib.suppress(OSError), open(path) as file:
            yield file.read().strip()
