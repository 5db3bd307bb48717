"""Prints lines without the control characters of names, captions and foreign errors, which steer a terminal."""

import os
import re
import sys
from collections.abc import Iterable

import typer

# Control characters (C0, DEL, C1), line separators, and characters that reverse the writing direction.
STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


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
