"""The command line: the only package that prints, names flags and sets exit codes."""

from embedshift.cli import commands, parity, studies  # noqa: F401 - whose commands the app then has
from embedshift.cli.app import app, main

__all__ = ["app", "main"]
