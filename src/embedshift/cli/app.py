"""The command line: each command calls one function of the library. Only this package prints."""

import io
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import embedshift
from embedshift.cli.failures import HALF, failure_limit, refuse_failures
from embedshift.cli.options import (
    RARE,
    choices,
    chosen,
    given,
    names,
    originals_and_variants,
    output,
    rare,
    require_images,
    switches,
    with_flags,
    with_options,
)
from embedshift.cli.signals import Signalled, stoppable, stopped
from embedshift.cli.words import open_in_browser, printable, say, say_all
from embedshift.cli.written import written
from embedshift.config import BUNDLED, GROUPS_WORDS, Json, StudyConfig
from embedshift.config.machine import NO_SPACE, OBJECTS, collecting_garbage_after, too_little_space, without_space
from embedshift.errors import EmbedshiftError, UsageError, foreign_code, reason

log = logging.getLogger("embedshift")


class _Group(TyperGroup):
    def get_help_option(self, ctx: Any) -> Any:
        """Always has a value: to find out that there is none, typer would import pydantic."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option

    def invoke(self, ctx: Any) -> Any:
        try:
            with foreign_code():
                return super().invoke(ctx)
        except Exception as error:
            if isinstance(message := getattr(error, "message", None), str):  # typer's own class for them is private
                error.message = printable(message)  # type: ignore[attr-defined]
            raise


app = typer.Typer(
    cls=_Group,
    help=embedshift.__doc__.splitlines()[0] if embedshift.__doc__ else None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

LISTED = "encoders|augmentations|metrics|figures|questions"
GroupOption = Annotated[str | None, typer.Option("--groups", help=GROUPS_WORDS)]
IMAGES_WORDS = "A folder, files, tar or Parquet files, a saved dataset, a URL, or a .txt list."
Images = Annotated[list[str], typer.Argument(help=IMAGES_WORDS)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and errors on stderr.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def main() -> None:
    """Entry point: prints one line and sets an exit code for errors that users can correct, 128 + n for signal n."""
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        # An image's id would depend on the locale, and no file of a study can hold ids decoded in an ASCII locale.
        python = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execve(sys.executable, python, os.environ | {"PYTHONUTF8": "1"})
    # Threads of NumPy's BLAS spin beside ours; sums would depend on their number, so they have nothing large to do.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _repair_terminal()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names may hold bytes that are no text
    with stoppable() as received, collecting_garbage_after(OBJECTS):
        try:
            app(standalone_mode=True)
        except (Exception, Signalled) as error:
            if received:  # whatever the error: a library in C may have made its own of the signal
                _fail(stopped(), 128 + received[0])
            elif isinstance(error, EmbedshiftError):
                _fail(with_flags(str(error), app), error.exit_code)
            elif isinstance(error, ImportError) and without_space(error):
                _fail(with_flags(NO_SPACE, app), EmbedshiftError.exit_code)
            elif isinstance(error, OSError):
                words = f"{error.filename or 'input or output'}: {error.strerror or reason(error)}"
                _fail(words, EmbedshiftError.exit_code)
            raise


def _repair_terminal() -> None:
    """Puts an empty file in the place of a closed stream, which the next opened file would take; drops COLUMNS=0."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    if os.environ.get("COLUMNS", "1").strip("0") == "":
        del os.environ["COLUMNS"]


def log_lines(quiet: bool = False) -> None:
    from embedshift.cli.terminal import set_up_logging

    set_up_logging(quiet, lambda line: with_flags(line, app))


def _fail(line: str, code: int) -> None:
    from rich.text import Text

    from embedshift.cli.terminal import err_console

    err_console.print(Text("error:", "bold red"), printable(line), highlight=False, soft_wrap=True)
    # The output streams may be gone (a closed pipe, Ctrl-C in a loader): leave without running anything more.
    sys.stdout.flush()
    os._exit(code)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        say(embedshift.__version__)
        raise typer.Exit
    if too_little_space():
        raise EmbedshiftError(NO_SPACE)


@app.command()
@with_options(StudyConfig, *switches(), skip=("images", "pairs"))
def run(
    images: Annotated[list[str] | None, typer.Argument(help=IMAGES_WORDS)] = None,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Measure pairs from files: give ORIGINALS VARIANTS... as IMAGES.")
    ] = False,
    out: Annotated[Path | None, output("Folder for the study.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with any of these settings; flags override it.")
    ] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write shards and tables, no report.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimate time and disk space; write nothing.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed images again.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Measure damaged shards again.")] = False,
    max_failed: Annotated[
        str,
        typer.Option(
            parser=failure_limit,
            metavar="N",
            help="Exit with code 1 if more images failed: a number, or a fraction such as 0.01.",
        ),
    ] = HALF,
    describe: Annotated[bool, typer.Option("--describe", help="Print what each augmentation is, too.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Measure an encoder on images; write shards, tables, figures and a report."""
    from embedshift.config import make_config, read_config

    flags = given({**settings, **originals_and_variants(images or [], pairs)})
    given_settings = ({} if config is None else read_config(config)) | flags
    require_images(given_settings)
    if out is None and not dry_run:
        raise UsageError("no folder given for the study: use --out DIR")
    log_lines(quiet)
    if dry_run:
        from embedshift.cli.estimate import estimate
        from embedshift.pipeline.prepare import prepared

        with prepared(make_config(given_settings), out) as study:
            for line in estimate(study):
                say(line)
        return
    assert out is not None
    given_study: Json = {"config": make_config(given_settings), "retry_failed": retry_failed, "repair": repair}
    measure(given_study, out, quiet=quiet, as_json=as_json, report=not no_report, max_failed=max_failed)
    if describe and not as_json:
        from embedshift.cli.listing import descriptions

        say_all(descriptions(out))


@app.command()
@with_options(*choices())
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the study.")],
    figures: Annotated[str | None, typer.Option(help="Figures to draw, separated by commas. Default: all.")] = None,
    formats: Annotated[str, typer.Option("--format", help="File formats of the figures: png, svg, pdf.")] = "png,svg",
    images: Annotated[
        str | None, typer.Option(help="Ids of the images in figures 1 and 4a, separated by commas.")
    ] = None,
    gallery: Annotated[
        int | None, typer.Option(min=1, help="Number of images in these figures, drawn by the seed.")
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="Show the paper's figures and claims first.")] = False,
    no_pictures: Annotated[
        bool,
        typer.Option("--no-pictures", help="Write no image to any file; replace ids by hashes.", rich_help_panel=RARE),
    ] = False,
    images_root: Annotated[Path | None, rare("Folder of the images, if they have moved.")] = None,
    groups: GroupOption = None,
    is_opened: Annotated[bool, typer.Option("--open", help="Open the report in the browser.")] = False,
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Rebuild tables, figures and report.html from the shards."""
    from embedshift.study import load

    if images is not None and gallery is not None:
        raise UsageError("give --images or --gallery, not both")
    log_lines(quiet)
    study = load(folder)
    study.report(
        figures=None if figures is None else names(figures),
        formats=names(formats),
        images=gallery if images is None else names(images),
        paper=paper,
        pictures=not no_pictures,
        images_root=images_root,
        groups=groups,
        choices=[chosen(kind, settings) for kind in choices()],
    )
    say_all(written(study.folder))
    if is_opened:
        open_in_browser((study.folder / "report.html").resolve().as_uri())


@app.command()
def demo(
    out: Annotated[Path, output("Folder for the study.")] = Path("embedshift-demo"),
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure the bundled encoder on pieces of sixteen photographs from scikit-image and scikit-learn."""
    from embedshift.config import make_config
    from embedshift.sources.demo import cut_photos

    log_lines(quiet)
    if out.is_dir() and any(out.iterdir()) and not (out / "photos" / "astronaut").is_dir():
        raise UsageError(f"{out}: holds something else than a demo; choose another `out`")
    # Pieces of one photograph are not independent.
    settings: Json = {"images": [str(cut_photos(out / "photos"))], "model": BUNDLED, "groups": "folder"}
    measure({"config": make_config(settings)}, out, quiet=quiet, as_json=as_json)


@app.command("list")
def list_names(kind: Annotated[str, typer.Argument(metavar=LISTED, help="What to list.")]) -> None:
    """List the available encoders, augmentations, metrics, figures or questions."""
    from embedshift.cli.listing import LISTS

    if kind not in LISTS:
        raise UsageError(f"cannot list {kind!r}: choose one of {', '.join(LISTS)}")
    entries = list(LISTS[kind]())
    width = max(len(name) for name, _ in entries)
    for name, text in entries:
        say(with_flags(f"{name:{width}}  {text}", app))


def measure(
    settings: Json, out: Path, *, quiet: bool, as_json: bool, report: bool = True, max_failed: str = HALF
) -> None:
    """Measures what `run_study` is given, and prints its tables; makes the report."""
    from embedshift.cli.terminal import print_table, progress
    from embedshift.encoders import check_name

    if settings.get("encoder") is None:  # a wrong name is refused before anything is said
        check_name(settings["config"].model)
    started = time.monotonic()
    starts: list[Any] = []
    with progress(quiet) as (on_start, step):

        def begun(start: Any) -> None:
            starts.append(start)
            on_start(start)

        from embedshift.steps import run_study  # whose libraries take seconds

        run_study(**settings, out=out, progress=step, on_start=begun)
    # After the first lines, which wait for no table.
    from embedshift.cli.results import legend, result_tables, study_json
    from embedshift.study import Study

    seconds, study = time.monotonic() - started, Study(out)
    if report and not study.is_reported():
        from embedshift.report.build import build_report

        build_report(study.reader(), has_tables=starts[0].state != "complete")
    counts = study.reader().info.counts
    if as_json:
        say(json.dumps(study_json(study)))
    else:
        for table, spare in result_tables(study):
            print_table(table, spare)
        for line in legend(study):
            say(with_flags(line, app))
        is_new = starts[0].done < starts[0].images and starts[0].state != "complete"
        when = f"in {seconds:.1f} s" if is_new else "before; nothing was left to do"
        say(f"{counts.measured} of {counts.images} images measured {when}.")
        say_all(written(study.folder))
    for first in study.failures().head(1).iter_rows(named=True):
        log.warning(
            "%d of %d images could not be measured (first: %s, stage %s: %s); %s lists all of them",
            counts.failed, counts.images, first["image_id"], first["stage"], first["reason"], out / "failures.parquet",
        )  # fmt: skip
    refuse_failures(out, max_failed)
