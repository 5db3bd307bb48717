"""`embedshift check`: a gate for continuous integration."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedshift.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from embedshift.study.gate import Checked

log = logging.getLogger("embedshift")
BROKEN = 3


def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished study.")],
    rules: Annotated[Path, typer.Option(help="A YAML file of rules.")] = Path("rules.yaml"),
    against: Annotated[Path | None, typer.Option(help="The reference: of the same images and views.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 3 also where a rule is not decided.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    junit: Annotated[Path | None, typer.Option(help="A file to write: JUnit's XML.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="A file to write: a summary for a pull request.")] = None,
    init: Annotated[bool, typer.Option("--init", help="Write a file of rules from this study, and end.")] = False,
) -> None:
    """Hold rules against a study: exit code 3 where one is broken. A gate for continuous integration."""
    from embedshift.cli.app import app
    from embedshift.cli.options import with_flags
    from embedshift.cli.terminal import print_wide, set_up_logging
    from embedshift.study import gate
    from embedshift.study.gate import output

    set_up_logging(False, lambda line: with_flags(line, app))
    if init:
        if against or strict or as_json or junit or markdown:
            raise UsageError("--init writes a file of rules and checks nothing; give it alone, or with --rules")
        typer.echo(f"Written: {gate.propose(folder, rules)}")
        return
    found = gate.check(folder, rules, against)
    for line in output.warnings(found):
        log.warning("%s", line)
    if junit is not None:
        _write(junit, output.to_junit(found, strict=strict))
    if markdown is not None:
        _write(markdown, output.to_markdown(found, strict=strict))
    if as_json:
        typer.echo(json.dumps(output.to_json(found, strict=strict), ensure_ascii=False))
    else:
        print_wide(_table(found))
        for line in output.warnings(found):
            typer.echo(f"warning: {line}")
        typer.echo(output.headline(found, strict=strict))
    if not found.passes(strict=strict):
        raise typer.Exit(BROKEN)


def _write(file: Path, text: str) -> None:
    # Not by a file beside it: what a workflow names may be a pipe, or the only file that it may write.
    file.write_text(text, encoding="utf-8")


def _table(found: "Checked") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from embedshift.study.gate import output

    table = Table(box=SIMPLE_HEAD)
    for heading in output.headings():
        right = heading in ("value", "images", "images needed")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    styles = {"broken": "bold red", "undecided": "yellow", "kept": ""}
    for result in found.results:
        outcome, *others = output.cells(result)
        table.add_row(Text(outcome, styles[outcome]), *map(Text, others))
    return table
