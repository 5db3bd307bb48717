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
from embedshift.registry import one_of

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
    files = {file.stem: file for file in sorted([*folder.glob("*.md"), folder / "reference" / "tables.md"])}
    texts = {name: file.read_text(encoding="utf-8") for name, file in files.items()}
    name = page.removesuffix(".md").rpartition("/")[2]
    if not page:
        typer.echo("".join(f"{name:16}{text.partition(chr(10))[0].lstrip('# ')}\n" for name, text in texts.items()))
        return say(f"Files: {folder}")
    one_of("page", name, list(files))
    text = re.sub(r"^<!-- .*? -->\n", "", texts[name], flags=re.MULTILINE)
    if is_opened:
        say(files[name])
        typer.launch(str(files[name]))
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(printable(text, keep="\n")))
    else:
        typer.echo(text, nl=False)
    return None
