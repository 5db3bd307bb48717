"""The output of `embedshift verify`: what is whole and what is damaged."""

import json
from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from embedshift.cli.app import app
from embedshift.cli.options import with_flags
from embedshift.cli.terminal import print_table
from embedshift.cli.words import say
from embedshift.errors import EmbedshiftError
from embedshift.store.verification import Finding, Verification, verify

# Whole files that are listed one by one; the others are counted.
LISTED = 20


def print_verified(folder: Path, as_json: bool) -> None:
    """Reads everything in a study's folder, prints the results, and sets exit code 1 if something is damaged."""
    found = verify(folder)
    if as_json:
        say(json.dumps(found.to_dict()))
    else:
        print_table(_table(found))
        say(_headline(found))
    if found.damaged:
        raise typer.Exit(EmbedshiftError.exit_code)


def _headline(found: Verification) -> str:
    if found.damaged:
        return f"{len(found.damaged):,} of {len(found.findings):,} files are damaged."
    return f"All {len(found.findings):,} files are intact. Checksum of the shards: {found.checksum}"


def _table(found: Verification) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for heading in ("file", "state", "checksum"):
        table.add_column(heading, overflow="fold")
    whole = [each for each in found.findings if not each.problem]
    for each in [*found.damaged, *whole[:LISTED]]:
        table.add_row(Text(each.name), _state(each), Text(each.checksum[:12]))
    if len(whole) > LISTED:
        table.add_row(f"… and {len(whole) - LISTED:,} more", "intact", "")
    return table


def _state(each: Finding) -> Text:
    return Text(f"damaged: {with_flags(each.problem, app)}", "bold red") if each.problem else Text("intact")
