"""Prints what a command answers: lines and tables on stdout, or one JSON object, and files that the user named."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from embedshift.cli.outputs import say, write_text

if TYPE_CHECKING:
    from embedshift.study.result import Output


def emit(output: "Output", words: Callable[[str], str], *, as_json: bool = False) -> None:
    """Prints an output, writes its files, and ends the command with its exit code where that is not 0.

    Args:
        output: What the command answers.
        words: Function of a line → the line with flags in place of settings.
        as_json: Whether to print the JSON object.
    """
    from embedshift.cli.terminal import print_grid

    if as_json:
        say(json.dumps(output.content))
    else:
        for part in output.parts:
            if isinstance(part, str):
                say(words(part))
            else:
                print_grid(part)
    for path, text in output.files.items():
        write_text(path, text)
    if output.exit_code:
        raise typer.Exit(output.exit_code)
