"""Makes text safe for a terminal: control characters in names, captions or foreign errors cannot steer it."""

import re
from collections.abc import Iterable

import typer

# Control characters (C0, DEL, C1), line separators, and characters that reverse the writing direction.
STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str, keep: str = "") -> str:
    """Returns a text with its control characters written out."""
    return STEERING.sub(lambda match: match[0] if match[0] in keep else ascii(match[0])[1:-1], text)


def say(text: object) -> None:
    """Prints one line on stdout."""
    typer.echo(printable(str(text)))


def say_all(lines: Iterable[object]) -> None:
    """Prints lines on stdout."""
    for line in lines:
        say(line)
