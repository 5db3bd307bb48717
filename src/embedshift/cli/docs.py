"""`embedshift docs`: the pages that are installed with the package."""

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

import embedshift
from embedshift.cli.app import app
from embedshift.cli.words import printable, say
from embedshift.errors import EmbedshiftError
from embedshift.registry import unknown_name

# In the wheel, and in a clone of the repository.
FOLDERS = (Path(embedshift.__file__).parent / "docs", Path(embedshift.__file__).parents[2] / "docs")


@app.command()
def docs(
    page: Annotated[str, typer.Argument(metavar="[PAGE]", help="Name of a page. Default: list all pages.")] = "",
    is_opened: Annotated[bool, typer.Option("--open", help="Open its file in another program.")] = False,
) -> None:
    """Print a page of the documentation, or list the pages."""
    folder = next((folder for folder in FOLDERS if (folder / "index.md").is_file()), None)
    if folder is None:
        raise EmbedshiftError(f"{FOLDERS[0]}: the pages are missing; install embedshift again")
    pages = {file.stem: file for file in sorted([*folder.glob("*.md"), folder / "reference" / "tables.md"])}
    if not page:
        for name, path in pages.items():
            say(f"{name:16}{path.read_text(encoding='utf-8').partition(chr(10))[0].lstrip('# ')}")
        say(f"Files: {folder}")
    elif (name := page.removesuffix(".md").rpartition("/")[2]) not in pages:
        raise EmbedshiftError(unknown_name("page", page, pages))
    elif is_opened:
        say(pages[name])
        typer.launch(str(pages[name]))
    else:
        _print(re.sub(r"^<!-- .*? -->\n", "", pages[name].read_text(encoding="utf-8"), flags=re.MULTILINE))


def _print(text: str) -> None:
    """Prints Markdown, laid out where somebody reads it."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(printable(text, keep="\n")))
    else:
        typer.echo(text, nl=False)
