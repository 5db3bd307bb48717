"""Prints lines without control characters of names, captions and foreign errors; names the files of an output."""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

from embedshift.config.safe_files import STUDY_FILES, refuse_output

# Control characters (C0, DEL, C1), line separators, and characters that reverse the writing direction.
STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
REPORT = "report.html"


def printable(text: str, keep: str = "") -> str:
    return STEERING.sub(lambda match: match[0] if match[0] in keep else ascii(match[0])[1:-1], text)


def say(text: object) -> None:
    typer.echo(printable(str(text)))


def say_all(lines: Iterable[object]) -> None:
    for line in lines:
        say(line)


def open_in_browser(address: str) -> None:
    """Opens a page, if a browser would be a window; one of the terminal would take the place of this command."""
    if sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        import webbrowser

        webbrowser.open(address)


def output_lines(folder: Path) -> Iterator[str]:
    yield "Written:"
    yield from (f"  {folder / name}" for name in STUDY_FILES if name != REPORT and (folder / name).exists())
    if (folder / REPORT).exists():
        yield f"Report: {folder / REPORT}"


def write_text(path: Path, text: str) -> None:
    """Writes a file that the user named, but none that a study has, and into no FIFO that nobody reads."""
    refuse_output(path)
    # Not through a temporary file: a workflow's path may be a pipe, or the only file that it may write.
    with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        os.set_blocking(file.fileno(), True)  # to open a FIFO that nobody reads is an error, not a wait
        file.write(text)
