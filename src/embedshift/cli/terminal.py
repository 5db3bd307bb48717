"""The look of the command line: progress bar, log lines, tables. It imports quickly."""

import contextlib
import logging
import os
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from embedshift.cli.outputs import printable, say

if TYPE_CHECKING:
    from embedshift.engines import Start
    from embedshift.study.result import Grid, Kind

log = logging.getLogger("embedshift")
# Without a terminal: how often a line of progress is logged.
LINE_SECONDS = 10
# Columns that no table takes.
_WIDEST = 10_000


class _PlainConsole(Console):
    """The one place through which texts reach the terminal: names of users are no markup, no emoji, no control."""

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(printable(text, keep="\n"), **settings | {"markup": False, "emoji": False})


err_console = _PlainConsole(stderr=True)


@contextlib.contextmanager
def repeating(first: str) -> Iterator[Callable[[], None]]:
    """Logs a first step at once, and while it lasts that work goes on; gives what ends it."""
    ended, begun = threading.Event(), time.monotonic()

    def repeat() -> None:
        while not ended.wait(LINE_SECONDS):
            log.info("still at work, %.0f s", time.monotonic() - begun)

    log.info(first)
    threading.Thread(target=repeat, daemon=True).start()
    try:
        yield ended.set
    finally:
        ended.set()


@contextlib.contextmanager
def progress(
    quiet: bool, doing: str = "measuring"
) -> Iterator[tuple[Callable[["Start"], None], Callable[[int], None]]]:
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    bar = Progress(*columns, TimeRemainingColumn(), console=err_console, disable=quiet or not err_console.is_terminal)
    task = bar.add_task("", total=None, rate="")
    starts: list[Start] = []
    begun, logged, new = 0.0, 0.0, 0

    def on_start(start: "Start") -> None:
        nonlocal begun, logged
        begun = logged = time.monotonic()
        starts.append(start)
        bar.update(task, total=start.images, completed=start.done)
        if start.state == "complete":
            words = "nothing to do but to print its tables (`retry_failed` tries failed images again)"
            log.info("%s: this study is already finished; %s", start.out, words)
        elif start.done:
            log.info("resuming: %d of %d images are done", start.done, start.images)
        if bar.disable and start.state != "complete":
            log.info("%s; the rate and the time left are shown every %d s", doing, LINE_SECONDS)
        if start.skipped:
            log.info("skipped files that are not images: %s", dict(start.skipped))

    def step(count: int) -> None:
        nonlocal logged, new
        if count:
            end_silence()
        [start], now = starts, time.monotonic()
        new += count
        rate = new / max(now - begun, 1e-9)
        pace = f"{rate:.1f} images/s" if rate >= 1 else f"{1 / max(rate, 1e-9):.1f} s/image"
        words = ", ".join(filter(None, [pace, start.note()]))
        bar.update(task, advance=count, rate=words)
        # A process that has loaded its encoder counts 0 images: there may be no rate yet.
        if bar.disable and new and now - logged > LINE_SECONDS:
            logged, done = now, start.done + new
            left = (start.images - done) / rate
            log.info("%d of %d images, %s, %.0f s of %s left", done, start.images, words, left, doing)

    with bar, repeating("reading libraries, images and encoder") as end_silence:
        yield on_start, step


class _Lines(logging.Handler):
    """Writes log records as whole lines to stderr, above the progress bar if there is one."""

    def __init__(self, words: Callable[[str], str]) -> None:
        super().__init__()
        self._words = words

    def emit(self, record: logging.LogRecord) -> None:
        line = self._words(record.getMessage())
        if record.name == "py.warnings":  # file, line, kind, words and code: the words
            line = line.partition("Warning: ")[2].partition("\n")[0] or line
        line = line if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {line}"
        err_console.print(printable(line), highlight=False, soft_wrap=True)


def set_up_logging(quiet: bool, words: Callable[[str], str]) -> None:
    """Sets up log lines on stderr: our own steps and warnings of libraries; with `quiet` only our own warnings."""
    logging.basicConfig(level=logging.ERROR if quiet else logging.WARNING, handlers=[_Lines(words)], force=True)
    logging.captureWarnings(True)
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    if quiet and sys.stderr is sys.__stderr__:
        _keep_stderr_for_lines()


def _keep_stderr_for_lines() -> None:
    """Discards what C libraries such as libtiff write to the file descriptor; Python's output stays."""
    ours = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = ours


# The colour of an outcome, by its first word.
STYLES = {"broken": "bold red", "worse": "red", "undecided": "yellow", "damaged": "bold red"}


def print_grid(grid: "Grid") -> None:
    """Prints a table of text on stdout, as wide as the terminal; without one, on 180 characters at least.

    Where it does not fit, its spare columns are left out, or other tables stand in its place.
    """
    if not grid.rows:
        return
    left: list[str] = []
    for heading in grid.spare:
        if fits(as_table(grid, left)):
            break
        left += [heading] if heading in grid.headings else []
    table = as_table(grid, left)
    if grid.narrow and not fits(table):
        for each in grid.narrow:
            print_grid(each)
        return
    _PlainConsole(width=_width()).print(table)
    if left:
        for line in textwrap.wrap(f"Left out on {_width()} characters: {', '.join(left)}", _width()):
            say(line)


def as_table(grid: "Grid", left: Sequence[str] = ()) -> Table:
    """Returns a table of text as rich's, without the columns that are left out."""
    kinds = [*grid.kinds, *[grid.kinds[-1]] * (len(grid.headings) - len(grid.kinds))]
    places = [place for place, heading in enumerate(grid.headings) if heading not in left]
    table = Table(title=grid.title or None, caption=grid.caption or None, title_justify="left", box=SIMPLE_HEAD)
    for place in places:
        widest = max((len(row[place]) for row in grid.rows if place < len(row)), default=0)
        if kinds[place] == "number":  # never cut and never folded; its heading may be
            longest = max(widest, *map(len, grid.headings[place].split()))
            table.add_column(grid.headings[place], justify="right", min_width=widest, max_width=longest)
        else:
            table.add_column(grid.headings[place], overflow="fold", no_wrap=kinds[place] == "name")
    for row in grid.rows:
        if row:
            table.add_row(*(_cell(row[place], kinds[place]) for place in places if place < len(row)))
        else:
            table.add_section()
    return table


def _cell(text: str, kind: "Kind") -> str | Text:
    return Text(printable(text, keep="\n"), STYLES.get(text.partition(":")[0], "")) if kind == "outcome" else text


def fits(table: Table) -> bool:
    console = _PlainConsole(width=_WIDEST)
    return console.measure(table).maximum <= _width()


def _width() -> int:
    width = Console().width
    return width if sys.stdout.isatty() or os.environ.get("COLUMNS") else max(width, 180)
