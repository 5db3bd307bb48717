"""`embedshift docs`: the pages that are installed with the package."""

import re
from pathlib import Path
from typing import Annotated

import typer

import embedshift
from embedshift.cli.app import app
from embedshift.registry import one_of

# In the wheel, or else in a clone of the repository.
FOLDERS = (Path(embedshift.__file__).parent / "docs", Path(embedshift.__file__).parents[2] / "docs")


@app.command()
def docs(
    page: Annotated[str, typer.Argument(metavar="[PAGE]", help="Name of a page. Default: list all pages.")] = "",
    is_opened: Annotated[bool, typer.Option("--open", help="Open its file in another program.")] = False,
) -> None:
    """Print a page of the documentation, or list the pages."""
    folder = FOLDERS[not FOLDERS[0].is_dir()]
    files = {file.stem: file for file in sorted([*folder.glob("*.md"), folder / "reference" / "tables.md"])}
    name = page.removesuffix(".md").rpartition("/")[2]
    if page:
        one_of("page", name, list(files))
        typer.echo(re.sub(r"^<!-- .*? -->\n", "", files[name].read_text("utf-8"), flags=re.MULTILINE), nl=False)
    else:
        for title, file in files.items():
            typer.echo(f"{title:16}{file.read_text('utf-8').partition(chr(10))[0].lstrip('# ')}")
    typer.echo(f"\nFile: {files.get(name, folder)}", err=True)
    if is_opened:
        typer.launch(str(files.get(name, folder)))
