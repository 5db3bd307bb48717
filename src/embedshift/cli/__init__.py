"""The command line: the only place that prints, says flags and gives exit codes."""

from embedshift.cli.app import app, main

__all__ = ["app", "main"]
