"""The command line: the only package that prints, names flags and sets exit codes."""

from embedshift.cli import commands as _commands  # noqa: F401
from embedshift.cli import parity, studies  # noqa: F401 - whose commands the app then has
from embedshift.cli.app import app, commands, main

__all__ = ["app", "commands", "main"]
