"""`embedshift app`: a page on this machine, to try one image and to look at those of a study."""

import contextlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from embedshift.cli.app import Quiet, app, log_lines
from embedshift.cli.words import say
from embedshift.config import BUNDLED
from embedshift.errors import MissingExtra


@app.command("app")
def browse(
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="A finished study. Default: none.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help=f"The encoder; with DIR, where its encoder lies now. Default: {BUNDLED}."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda:0.")] = "auto",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Of this machine. Default: the first free one from 7860.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, and open nothing.")] = False,
    quiet: Quiet = False,
) -> None:
    """Try one image of your own in the browser, and look at the images of a study. Ctrl-C ends it."""
    from embedshift.parity.images import copy_photos

    if importlib.util.find_spec("gradio") is None:
        raise MissingExtra("the page", "app")
    log_lines(quiet)
    from embedshift.app.server import load_page, serving
    from embedshift.study import load

    reader = None if folder is None else load(folder).reader()
    with serving(lambda: load_page(reader, copy_photos, model, device), port) as (address, thread):
        say(address)
        if not no_browser and _has_screen():
            import webbrowser

            with contextlib.suppress(webbrowser.Error):
                webbrowser.open(address)
        while thread.is_alive():
            thread.join(0.5)


def _has_screen() -> bool:
    """Whether a browser would be a window; one of the terminal would take the place of this command."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
