"""What the command line looks like: the progress bar, log lines, tables. Nothing here takes long to import."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from embedshift.cli.words import printable

if TYPE_CHECKING:
    from embedshift.steps import Start

log = logging.getLogger("embedshift")
out_console, err_console = Console(), Console(stderr=True)


@contextlib.contextmanager
def progress(
    quiet: bool, doing: str = "measuring"
) -> Iterator[tuple[Callable[["Start"], None], Callable[[int], None]]]:
    """A bar with images per second and the time left; on anything but a terminal, a log line now and then."""
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    bar = Progress(*columns, TimeRemainingColumn(), console=err_console, disable=quiet or not err_console.is_terminal)
    task = bar.add_task("", total=None, rate="")
    state = {"begun": 0.0, "said": 0.0, "done": 0, "total": 0, "new": 0}

    def on_start(start: "Start") -> None:
        state.update(begun=time.monotonic(), said=time.monotonic(), done=start.done, total=start.images)
        bar.update(task, total=start.images, completed=start.done)
        if start.complete:
            log.warning("%s: this study is already finished; nothing to do", start.out)
        elif start.done:
            log.info("resuming: %d of %d images are done", start.done, start.images)
        if start.skipped:
            log.info("skipped files that are not images: %s", dict(start.skipped))

    def step(count: int) -> None:
        state["new"] += count
        now = time.monotonic()
        rate = state["new"] / max(now - state["begun"], 1e-9)
        bar.update(task, advance=count, rate=f"{rate:.1f} images/s")
        if bar.disable and now - state["said"] > 10:
            state["said"] = now
            through = state["done"] + state["new"]
            left = (state["total"] - through) / rate
            log.info("%d of %d images, %.1f images/s, %.0f s left", through, state["total"], rate, left)

    with bar:
        yield on_start, step


class _Lines(logging.Handler):
    """Log records as whole lines on stderr, above the progress bar where there is one."""

    def __init__(self, words: Callable[[str], str]) -> None:
        super().__init__()
        self._words = words

    def emit(self, record: logging.LogRecord) -> None:
        line = self._words(record.getMessage())
        if record.name == "py.warnings":  # file, line, kind, words and code: the words
            line = line.partition("Warning: ")[2].partition("\n")[0] or line
        line = line if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {line}"
        err_console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def set_up_logging(quiet: bool, words: Callable[[str], str]) -> None:
    """Log lines on stderr: of our own steps, and what libraries warn of; with `quiet` only our own warnings.

    Args:
        quiet: Whether nothing but warnings and errors of our own is said.
        words: Puts flags in the place of settings.
    """
    logging.basicConfig(level=logging.ERROR if quiet else logging.WARNING, handlers=[_Lines(words)], force=True)
    logging.captureWarnings(True)
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    if quiet and sys.stderr is sys.__stderr__:
        _keep_stderr_for_lines()


def _keep_stderr_for_lines() -> None:
    """What C libraries write to the file descriptor itself, as libtiff does, goes nowhere; what Python says stays."""
    ours = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = ours


class _OfNames(Console):
    """One whose texts are names and numbers: no markup, and nothing that steers the terminal."""

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(printable(text, keep="\n"), **settings | {"markup": False, "emoji": False})


def print_wide(table: Table) -> None:
    """A table on stdout, on lines of 140 characters at least."""
    _OfNames(width=max(out_console.width, 140)).print(table)
