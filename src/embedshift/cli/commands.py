"""The commands for finished studies, those that write views as files, the page in the browser, and lists."""

import importlib.util
import pydoc
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

import embedshift
from embedshift.cli.app import AsJson, Images, Quiet, app, log_lines, with_flags
from embedshift.cli.options import given, output, taken_columns, with_options
from embedshift.cli.outputs import open_in_browser, say, say_all
from embedshift.cli.studies import measure
from embedshift.config import (
    BUNDLED,
    AttackConfig,
    ColumnNames,
    VectorsConfig,
    ViewsConfig,
    make_attack_config,
    validated,
)
from embedshift.errors import MissingExtra, UsageError
from embedshift.registry import one_of, questions

# In the wheel, or else in a clone of the repository.
FOLDERS = (Path(embedshift.__file__).parent / "docs", Path(embedshift.__file__).parents[2] / "docs")
# An object of the Python reference, which is described by its docstring.
REFERENCE = re.compile(r"^::: (\S+)\n +options: .*?heading: ([\w.]+),.*\n", re.MULTILINE)
LISTED = "encoders|augmentations|metrics|figures|questions"


@app.command(rich_help_panel="Bring your own")
@with_options(VectorsConfig, ColumnNames)
def vectors(
    places: Annotated[
        list[str],
        typer.Argument(metavar="TABLE.parquet | ORIGINALS.npy NAME=VARIANTS.npy...", help="Vectors that exist."),
    ],
    out: Annotated[Path, output("Folder for the study.")],
    no_report: Annotated[bool, typer.Option("--no-report", help="Write shards and tables, no report.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Make a study of vectors that exist: a table with image_id, view and vector, or arrays. It needs no encoder."""
    from embedshift.augmentations import ORIGINAL
    from embedshift.pipeline.vectors import vector_study
    from embedshift.sources import named_variants

    log_lines(quiet)
    named, columns = [(ORIGINAL, places[0]), *named_variants(places[1:]).items()], taken_columns(settings)
    study = vector_study(named, given(settings), out, groups=settings["groups"], columns=columns)
    measure(study, out, quiet=quiet, as_json=as_json, report=not no_report)


@app.command(rich_help_panel="Bring your own")
@with_options(ViewsConfig, skip=("images",))
def views(
    images: Images,
    out: Annotated[Path, output("Folder for the files.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With restyle: measure one step, print time and memory; write nothing.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Write the changed images as files, for `run --pairs DIR/views.json` and for other programs."""
    from embedshift.cli.results import estimate_and_print, write_and_print

    config = validated(ViewsConfig, {"images": images, **given(settings)})
    log_lines(quiet)
    if dry_run:
        return estimate_and_print(config, out, as_json=as_json)
    return write_and_print(config, out, quiet=quiet, as_json=as_json)


@app.command(rich_help_panel="Look inside")
@with_options(AttackConfig, skip=("images",))
def attack(
    images: Images,
    out: Annotated[Path, output("Folder for the attacked images.")],
    quiet: Quiet = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Search for the worst change of each image within a budget; write pairs for `run --pairs`."""
    from embedshift.cli.results import attack_and_print

    config = make_attack_config({"images": images, **given(settings)})
    log_lines(quiet)
    attack_and_print(config, out, quiet=quiet, as_json=as_json)


@app.command("app", rich_help_panel="Look inside")
def browse(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR]...", help="Finished studies, side by side. Default: none.")
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", help=f"An encoder, or several; with DIR, where its encoder lies. Default: {BUNDLED}."),
    ] = None,
    index: Annotated[
        list[Path] | None, typer.Option(help="A file of `index`: embeddings are compared through its map, too.")
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
    from embedshift.study.indexed import load_map

    readers = [embedshift.load(folder).reader() for folder in folders or ()]
    maps = {path: load_map(path) for path in index or ()}
    with tempfile.TemporaryDirectory() as scratch:
        photos = [] if readers else sorted(copy_photos(Path(scratch)).iterdir())
        encoders = load_encoders(readers, models or [], device, maps, photos)
    with serving(lambda: make_page(encoders, *readers[:1]), port) as (address, thread):
        say(address)
        if not no_browser:
            open_in_browser(address)
        while thread.is_alive():
            thread.join(0.5)


@app.command(rich_help_panel="Files and help")
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the study.")],
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Verify the checksums of all files of a study; exit with code 1 if one is damaged, or the study is unfinished."""
    from embedshift.cli.emit import emit
    from embedshift.cli.results import verified

    log_lines(quiet)
    emit(verified(folder), with_flags, as_json=as_json)


@app.command("list", rich_help_panel="Files and help")
def list_names(kind: Annotated[str, typer.Argument(metavar=LISTED, help="What to list.")]) -> None:
    """List the available encoders, augmentations, metrics, figures or questions."""
    if kind not in LISTS:
        raise UsageError(f"cannot list {kind!r}: choose one of {', '.join(LISTS)}")
    entries = list(LISTS[kind]())
    width = max(len(name) for name, _ in entries)
    say_all(with_flags(f"{name:{width}}  {text}") for name, text in entries)


def _encoders() -> Iterator[tuple[str, str]]:
    from embedshift.encoders import ENCODER_FAMILIES, ENCODERS, OTHERS, TITLES

    for name in ENCODERS:
        title = TITLES.get(name)
        yield name, f"bundled (extra 'offline'): {title}" if title else "from another package"
    for family in ENCODER_FAMILIES:
        yield family.example, family.summary
    yield from OTHERS.items()


def _augmentations() -> Iterator[tuple[str, str]]:
    from embedshift.augmentations import SUITES, VIEWS, Choice
    from embedshift.augmentations.family import FAMILIES

    for name in SUITES:
        suite = () if name in VIEWS else SUITES[name](Choice())
        words = VIEWS.get(name) or {view.name: view.description for view in suite if not view.level}
        families = (FAMILIES[family] for family in dict.fromkeys(view.level.family for view in suite if view.level))
        yield name, f"{len(words) or len(suite)} views"
        yield from ((f"  {family.name}", family.description(*family.levels)) for family in families)
        yield from ((f"  {view}", description) for view, description in words.items())


def _metrics() -> Iterator[tuple[str, str]]:
    from embedshift.registry import METRICS

    for name in METRICS:
        metric = METRICS[name]
        better = "closer" if metric.low < metric.no_change < metric.high else "lower"
        better = "higher" if metric.higher_is_better else better
        off = f" Off by default (`{metric.asked_by}`)." if metric.optional else ""
        yield name, f"[{metric.needs}] {metric.summary} No change = {metric.no_change:g}; {better} = less change.{off}"


def _figures() -> Iterator[tuple[str, str]]:
    declared = {name: entry for question in questions() for name, entry in question.figures.items()}
    for name, (number, title) in sorted(declared.items(), key=lambda pair: pair[1]):
        yield name, f"[{number.lstrip('0')}] {title}"


LISTS: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
    "encoders": _encoders,
    "augmentations": _augmentations,
    "metrics": _metrics,
    "figures": _figures,
    "questions": lambda: ((question.name, question.sentence) for question in questions()),
}


def _help_of(address: str, name: str) -> str:
    """Returns what Python's `help` prints of an object, below its public name."""
    return f"### {name}\n\n{pydoc.plain(pydoc.render_doc(pydoc.locate(address), title='%s'))}\n"


@app.command(rich_help_panel="Files and help")
def docs(
    page: Annotated[str, typer.Argument(metavar="[PAGE]", help="Name of a page. Default: list all pages.")] = "",
    is_opened: Annotated[bool, typer.Option("--open", help="Open its file in another program.")] = False,
) -> None:
    """Print a page of the documentation, or list the pages."""
    folder = FOLDERS[not FOLDERS[0].is_dir()]
    references = [folder / "reference" / f"{name}.md" for name in ("python", "tables")]
    files = {file.stem: file for file in sorted([*folder.glob("*.md"), *references])}
    name = page.removesuffix(".md").rpartition("/")[2]
    if page:
        one_of("page", name, list(files))
        text = re.sub(r"^<!-- .*? -->\n", "", files[name].read_text("utf-8"), flags=re.MULTILINE)
        typer.echo(REFERENCE.sub(lambda found: _help_of(*found.groups()), text), nl=False)
    else:
        for title, file in files.items():
            typer.echo(f"{title:16}{file.read_text('utf-8').partition(chr(10))[0].lstrip('# ')}")
    typer.echo(f"\nFile: {files.get(name, folder)}", err=True)
    if is_opened:
        typer.launch(str(files.get(name, folder)))
