"""Commands of the questions: their options as those of Typer, and what they answer on stdout."""

import inspect
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from embedshift.cli.options import chosen, with_options
from embedshift.cli.outputs import say, write_text
from embedshift.registry import COMMANDS

if TYPE_CHECKING:
    from embedshift.study.result import Output


def callback(name: str) -> Callable[..., None]:
    """Loads a command of a question; returns it as a function with an option for each field of its `Options`."""
    from embedshift.cli.app import log_lines

    module = COMMANDS[name].part("command")

    def run(**settings: Any) -> None:
        options = chosen(module.Options, settings)
        log_lines(options.quiet)
        emit(module.command(options), as_json=options.as_json)

    _, _, more = str(inspect.getdoc(module.command)).partition("\n\n")
    run.__doc__ = f"{COMMANDS[name].sentence}\n\n{more}"
    return with_options(module.Options)(run)


def emit(answer: "Output", *, as_json: bool = False) -> None:
    """Prints an answer, writes its files, and ends the command with its exit code where that is not 0."""
    from embedshift.cli.app import with_flags
    from embedshift.cli.terminal import print_grid

    if as_json:
        say(json.dumps(answer.content))
    else:
        for part in answer.parts:
            if isinstance(part, str):
                say(with_flags(part))
            else:
                print_grid(part)
    for path, text in answer.files.items():
        write_text(path, text)
    if answer.exit_code:
        raise typer.Exit(answer.exit_code)
