"""`embedshift app`: a page on this machine, to try one image and to look at those of a study."""

import importlib.util
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from embedshift.cli.app import Quiet, app, log_lines
from embedshift.cli.words import open_in_browser, say
from embedshift.config import BUNDLED
from embedshift.errors import MissingExtra


@app.command("app")
def browse(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR]...", help="Finished studies, side by side. Default: none.")
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", help=f"An encoder, or several; with DIR, where its encoder lies. Default: {BUNDLED}."),
    ] = None,
    whiten: Annotated[
        list[Path] | None, typer.Option(help="A file of `whiten`: embeddings are compared through this map, too.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda:0.")] = "auto",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Of this machine. Default: the first free one from 7860.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, and open nothing.")] = False,
    quiet: Quiet = False,
) -> None:
    """Try one image of your own in the browser, and look at the images of a study. Ctrl-C ends it."""
    from embedshift.sources.demo import copy_photos

    if importlib.util.find_spec("gradio") is None:
        raise MissingExtra("the page", "app")
    log_lines(quiet)
    from embedshift.app.measured import load_encoders
    from embedshift.app.page import make_page
    from embedshift.app.server import serving
    from embedshift.statistics.whitening import Whitening
    from embedshift.study import load

    readers = [load(folder).reader() for folder in folders or ()]
    maps = {path: Whitening.load(path) for path in whiten or ()}
    with tempfile.TemporaryDirectory() as scratch:
        photos = [] if readers else sorted(copy_photos(Path(scratch)).iterdir())
        encoders = load_encoders(readers, models or [], device, maps, photos)
    with serving(lambda: make_page(encoders, *readers[:1]), port) as (address, thread):
        say(address)
        if not no_browser:
            open_in_browser(address)
        while thread.is_alive():
            thread.join(0.5)
