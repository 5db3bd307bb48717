"""The output of `embedshift verify`: what is whole and what is damaged."""

import json
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from embedshift.cli.app import app
from embedshift.cli.options import with_flags
from embedshift.cli.terminal import folded_columns, print_table, text_table
from embedshift.cli.words import say
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.store.listing import Finding, Verification, verify

# Whole files that are listed one by one; the others are counted.
LISTED = 20


def print_verified(folder: Path, as_json: bool) -> None:
    """Reads everything in a study's folder and prints the results; exit code 1 unless all is there and intact."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    verification = verify(folder)
    if as_json:
        say(json.dumps(verification.to_dict()))
    else:
        print_table(_table(verification))
        say(_headline(verification))
    if verification.damaged or not verification.complete:
        raise typer.Exit(EmbedshiftError.exit_code)


def _headline(verification: Verification) -> str:
    if verification.damaged:
        return f"{len(verification.damaged):,} of {len(verification.findings):,} files are damaged."
    if not verification.complete:
        words = "the study is not finished: run the same command again"
        return f"The {len(verification.findings):,} files that are there are intact, but {words}."
    return f"All {len(verification.findings):,} files are intact. Checksum of the shards: {verification.checksum}"


def _table(verification: Verification) -> Table:
    table = text_table("", *folded_columns("file", "state", "checksum"))
    intact = [finding for finding in verification.findings if not finding.problem]
    for finding in [*verification.damaged, *intact[:LISTED]]:
        table.add_row(Text(finding.name), _state(finding), Text(finding.checksum[:12]))
    if len(intact) > LISTED:
        table.add_row(f"… and {len(intact) - LISTED:,} more", "intact", "")
    return table


def _state(finding: Finding) -> Text:
    return Text(f"damaged: {with_flags(finding.problem, app)}", "bold red") if finding.problem else Text("intact")
