"""Whether Polars can work in this process: where one that used it was forked, its threads are missed for ever."""

import contextlib
import glob
import os
import re
from collections.abc import Iterator

from embedshift.errors import EmbedshiftError

_left_behind = False
_at_work = False


def refuse_fork() -> None:
    """Refuses a process that was forked, as by `multiprocessing`, after Polars was used.

    It is noticed on Linux, where embedshift was imported before the fork; elsewhere nothing is refused.

    Raises:
        EmbedshiftError: where Polars would hang.

    Example:
        >>> refuse_fork()
    """
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
    """The names of this process's threads, where the system tells them; some end meanwhile."""
    for path in glob.glob("/proc/self/task/*/comm"):
        with contextlib.suppress(OSError), open(path) as file:
            yield file.read().strip()


os.register_at_fork(before=_before, after_in_child=_in_child)
