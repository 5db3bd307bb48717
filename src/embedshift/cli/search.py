"""`embedshift search`: what happens to search, on a finished study."""

import json
from pathlib import Path
from typing import Annotated

import typer

from embedshift.cli.options import RARE, names

# Tables of the question that `--json` has.
TABLES = ("search", "thresholds", "matches", "gallery_sizes", "duplicates")


def search(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished study.")],
    gallery: Annotated[
        str, typer.Option(help="More images to find among: another study, or a Parquet or npy file of vectors.")
    ] = "",
    queries: Annotated[
        str, typer.Option(help="Images whose views are searched for: a number, or all.", rich_help_panel=RARE)
    ] = "2000",
    fmr: Annotated[
        str,
        typer.Option(
            help="False-match rates of the thresholds, with commas. Default: 0.01,0.001, where the images bear them.",
            rich_help_panel=RARE,
        ),
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on stderr but warnings and errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object of the tables on stdout.")] = False,
) -> None:
    """Will a search still find an image after a change? Which images are duplicates?"""
    from embedshift.cli.app import app
    from embedshift.cli.options import with_flags
    from embedshift.cli.search_tables import lines, recall_table, threshold_table
    from embedshift.cli.terminal import print_wide, set_up_logging
    from embedshift.study import load

    set_up_logging(quiet, lambda line: with_flags(line, app))
    study = load(folder)
    found = study.search(queries=queries, fmr=names(fmr), gallery=gallery)
    if as_json:
        tables = {name: study.table(name).to_dicts() for name in TABLES}
        typer.echo(json.dumps({"study": str(folder)} | tables, ensure_ascii=False))
        return
    print_wide(recall_table(study, found))
    print_wide(threshold_table(study))
    for line in lines(study):
        typer.echo(line)
