"""The command line: its start, its errors and exit codes, and the options that several commands have."""

import contextlib
import inspect
import io
import os
import re
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import embedshift
from embedshift.cli.emit import emit
from embedshift.cli.options import chosen, with_options
from embedshift.cli.outputs import printable, say
from embedshift.cli.signals import Signalled, stoppable, stopped
from embedshift.config import GROUPS_WORDS
from embedshift.config.processes import (
    NO_SPACE,
    OBJECTS,
    collecting_garbage_after,
    too_little_space,
    wait_passively_where_busy,
    without_space,
)
from embedshift.config.safe_files import in_plain_words
from embedshift.errors import EmbedshiftError, UsageError, foreign_code, reason
from embedshift.registry import COMMANDS, PANELS, REPLACED, Command, unknown_name

SETTINGS = {"help_option_names": ["-h", "--help"]}
# Options that went, and what takes their place.
GONE = {
    "--whiten": "--index FILE takes its place, and reads files of `whiten`",
    "--layout": "`embedshift index STUDY tiles` takes its place",
}


class _Stub(TyperCommand):
    """A command of a question as `--help` lists it, until its arguments are read."""

    def __init__(self, name: str) -> None:
        super().__init__(name, help=COMMANDS[name].sentence, rich_help_panel=COMMANDS[name].panel)


class _Group(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        """Lists the commands panel by panel."""
        names = dict.fromkeys((*self.commands, *COMMANDS))
        panels = {name: self.get_command(ctx, name).rich_help_panel for name in names}
        order = [*PANELS, *panels.values()]
        places = {name: COMMANDS[name].order if name in COMMANDS else Command.order for name in names}
        return sorted(names, key=lambda name: (order.index(panels[name]), places[name]))

    def get_command(self, ctx: Any, name: str) -> Any:
        """Returns a command; one of a question is a stub."""
        if name not in self.commands and name in COMMANDS:
            self.commands[name] = _Stub(name)
        return super().get_command(ctx, name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Loads the command that runs; all are known, so that an unknown one has a suggestion."""
        self.list_commands(ctx)
        if args:
            if args[0] in REPLACED:
                raise UsageError(unknown_name("command", args[0], ()))
            self.loaded(args[0])
        return super().resolve_command(ctx, args)

    def loaded(self, name: str) -> Any:
        """Returns a command with its options, or None; only then is the folder of a question loaded."""
        if isinstance(self.get_command(None, name), _Stub):
            alone = typer.Typer(add_completion=False, context_settings=SETTINGS)
            alone.command(name)(_callback(name))
            self.commands[name] = typer.main.get_command(alone)
        return self.commands.get(name)

    def get_help_option(self, ctx: Any) -> Any:
        """Always has a value: to find out that there is none, typer would import pydantic."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option

    def invoke(self, ctx: Any) -> Any:
        try:
            with foreign_code():
                return super().invoke(ctx)
        except Exception as error:
            ended = error.__cause__
            if isinstance(ended, SystemExit) and isinstance(ended.__context__, BrokenPipeError):
                raise ended from None  # rich ends the program where its reader has closed the pipe
            if (option := getattr(error, "option_name", None)) in GONE:
                raise UsageError(f"option {option} is gone: {GONE[option]}") from None
            if isinstance(message := getattr(error, "message", None), str):  # typer's own class for them is private
                error.message = in_plain_words(printable(message))  # type: ignore[attr-defined]
            raise


app = typer.Typer(
    cls=_Group,
    help=embedshift.__doc__.splitlines()[0] if embedshift.__doc__ else None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
)

GroupOption = Annotated[str | None, typer.Option("--groups", help=GROUPS_WORDS)]
IMAGES_WORDS = "A folder, files, tar or Parquet files, a saved dataset, a URL, or a .txt list."
Images = Annotated[list[str], typer.Argument(help=IMAGES_WORDS)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and errors on stderr.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def main() -> None:
    """Entry point: prints one line and sets an exit code for errors that users can correct, 128 + n for signal n."""
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        # An image's id would depend on the locale, and no file of a study can hold ids decoded in an ASCII locale.
        python = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execve(sys.executable, python, os.environ | {"PYTHONUTF8": "1"})
    # Threads of NumPy's BLAS spin beside ours; sums would depend on their number, so they have nothing large to do.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    wait_passively_where_busy()
    _repair_terminal()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names may hold bytes that are no text
    with stoppable() as received, collecting_garbage_after(OBJECTS):
        try:
            app(standalone_mode=True)
        except (Exception, Signalled) as error:
            if received:  # whatever the error: a library in C may have made its own of the signal
                _fail(stopped(), 128 + received[0])
            elif isinstance(error, EmbedshiftError):
                _fail(with_flags(str(error)), error.exit_code)
            elif isinstance(error, ImportError) and without_space(error):
                _fail(with_flags(NO_SPACE), EmbedshiftError.exit_code)
            elif isinstance(error, OSError):
                words = f"{error.filename or 'input or output'}: {error.strerror or reason(error)}"
                _fail(words, EmbedshiftError.exit_code)
            raise


def _repair_terminal() -> None:
    """Puts an empty file in the place of a closed stream, which the next opened file would take; drops COLUMNS=0."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    if os.environ.get("COLUMNS", "1").strip("0") == "":
        del os.environ["COLUMNS"]


def with_flags(line: str) -> str:
    """Replaces settings between backticks by flags of `run`, or of the command that runs, and other names by plain."""
    group: Any = typer.main.get_command(app)
    running = next((name for name in sys.argv[1:] if group.get_command(None, name)), "run")
    known = [group.loaded("run")]
    with contextlib.suppress(EmbedshiftError):  # a command that cannot be loaded, which the line is about
        known.append(group.loaded(running))
    flags = {
        parameter.name: parameter.opts[0]
        for command in known
        for parameter in command.params
        if parameter.opts[0].startswith("--")
    }
    line = re.sub(r"`columns\.(\w+)`", r"`\1_column`", line)
    return re.sub(r"`(\w+)`", lambda match: str(flags.get(match[1], match[1])), line)


def _callback(name: str) -> Callable[..., None]:
    """Loads a command of a question; returns it as a function with an option for each field of its `Options`."""
    module = COMMANDS[name].part("command")

    def run(**settings: Any) -> None:
        options = chosen(module.Options, settings)
        log_lines(options.quiet)
        emit(module.command(options), with_flags, as_json=options.as_json)

    _, _, more = str(inspect.getdoc(module.command)).partition("\n\n")
    run.__doc__ = f"{COMMANDS[name].sentence}\n\n{more}"
    return with_options(module.Options)(run)


def commands() -> dict[str, Any]:
    """Returns every command by its name, with its options."""
    group: Any = typer.main.get_command(app)
    return {name: group.loaded(name) for name in group.list_commands(None)}


def log_lines(quiet: bool = False) -> None:
    from embedshift.cli.terminal import set_up_logging

    set_up_logging(quiet, with_flags)


def _fail(line: str, code: int) -> None:
    from rich.text import Text

    from embedshift.cli.terminal import err_console

    err_console.print(Text("error:", "bold red"), printable(line), highlight=False, soft_wrap=True)
    # The output streams may be gone (a closed pipe, Ctrl-C in a loader): leave without running anything more.
    sys.stdout.flush()
    os._exit(code)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        say(embedshift.__version__)
        raise typer.Exit
    if too_little_space():
        raise EmbedshiftError(NO_SPACE)
