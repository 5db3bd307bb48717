"""The command `embedshift check`: a gate for continuous integration."""

import json
import logging
import sys
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from embedshift.cli.app import app
from embedshift.cli.options import with_flags
from embedshift.cli.terminal import fits, folded_columns, print_table, text_table
from embedshift.cli.words import say, say_all
from embedshift.cli.written import write_text
from embedshift.errors import UsageError
from embedshift.study.gate import Checked, check, output
from embedshift.study.gate.result import HEADINGS, cells, headline

log = logging.getLogger("embedshift")
# The exit code where a rule is broken.
BROKEN = 3
_STYLES = {"broken": "bold red", "undecided": "yellow", "kept": ""}


def gate(
    folder: Path,
    rules: Path,
    against: Path | None,
    groups: str | None,
    strict: bool,
    as_json: bool,
    junit: Path | None,
    markdown: Path | None,
) -> None:
    if not rules.exists():
        raise UsageError(f"{rules}: no such file; `embedshift check {folder} --init` writes rules to start with")
    checked = check(folder, rules, against, groups=groups)
    warnings = output.warnings(checked)
    # Someone who reads both streams in one terminal reads a warning once.
    for line in warnings if as_json or not (sys.stdout.isatty() and sys.stderr.isatty()) else ():
        log.warning("%s", line)
    if as_json:
        say(json.dumps(output.to_json(checked, strict=strict)))
    else:
        wide = _table(checked)
        print_table(wide if fits(wide) else _narrow_table(checked))
        for line in warnings:
            say(f"warning: {with_flags(line, app)}")
        say(with_flags(headline(checked, strict=strict), app))
    if junit is not None:
        write_text(junit, output.to_junit(checked, strict=strict))
    if markdown is not None:
        write_text(markdown, output.to_markdown(checked, strict=strict))
    if not checked.passes(strict=strict):
        raise typer.Exit(BROKEN)


def say_rules(file: Path) -> None:
    say(f"Written: {file}")
    say("A rule is broken by the change behind it in 80 % of studies:")
    say_all(line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("  - "))


def _narrow_table(checked: Checked) -> Table:
    """Returns a table with cells above each other; the warnings alone give the numbers of images."""
    table = text_table("", *folded_columns("outcome", "rule\nrow", "value, 95 % interval\nrequired"))
    for result in checked.results:
        outcome, rule, row, value, interval, required, *_ = cells(result)
        table.add_row(Text(outcome, _STYLES[outcome]), f"{rule}\n{row}", f"{value}  {interval}\n{required}")
    return table


def _table(checked: Checked) -> Table:
    table = text_table("", *folded_columns(*HEADINGS))
    for column in table.columns:
        column.justify = "right" if column.header in ("value", "images", "images needed") else "left"
    for result in checked.results:
        outcome, *others = cells(result)
        table.add_row(Text(outcome, _STYLES[outcome]), *others)
    return table
