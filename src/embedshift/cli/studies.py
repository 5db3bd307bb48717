"""The commands that make a study or its report: `run`, `report` and `demo`."""

import logging
import re
import time
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from embedshift.cli.app import IMAGES_WORDS, AsJson, GroupOption, Quiet, app, log_lines, with_flags
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
    with_options,
)
from embedshift.cli.outputs import open_in_browser, output_lines, say, say_all, write_text
from embedshift.config import BUNDLED, Json, StudyConfig, make_config, read_config
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.registry import COMMANDS, switch_kinds

log = logging.getLogger("embedshift")
# How many images may fail, where nothing is given.
HALF = "0.5"


def failure_limit(text: str) -> str:
    """Checks a limit and returns it: a number of images, or with a decimal point a fraction of them."""
    if re.fullmatch(r"[0-9]{1,18}|0?\.[0-9]{1,18}|[01]\.0*", text, re.ASCII) is None:
        raise UsageError(f"--max-failed {text:.40}: give a number of images such as 10, or a fraction such as 0.01")
    return text


@app.command(rich_help_panel="Start")
def demo(
    out: Annotated[Path, output("Folder for the study.")] = Path("embedshift-demo"),
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure the bundled encoder on pieces of sixteen images from scikit-image, scikit-learn and matplotlib."""
    from embedshift.sources.demo import cut_photos

    log_lines(quiet)
    if out.is_dir() and any(out.iterdir()) and not (out / "photos" / "astronaut").is_dir():
        raise UsageError(f"{out}: holds something else than a demo; choose another `out`")
    # Pieces of one image are not independent.
    settings: Json = {"images": [str(cut_photos(out / "photos"))], "model": BUNDLED, "groups": "folder"}
    measure({"config": make_config(settings)}, out, quiet=quiet, as_json=as_json)


@app.command(rich_help_panel="Start")
@with_options(StudyConfig, *switch_kinds(), skip=("images", "pairs"))
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
            say_all(estimate(study))
        return
    assert out is not None
    given_study: Json = {"config": make_config(given_settings), "retry_failed": retry_failed, "repair": repair}
    measure(given_study, out, quiet=quiet, as_json=as_json, report=not no_report, max_failed=max_failed)
    if describe and not as_json:
        from embedshift.store.info import read_info

        known = read_info(out).descriptions
        say_all(f"{name:{max(map(len, known))}}  {words}" for name, words in known.items())


@app.command(rich_help_panel="Start")
@with_options(*choices())
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the study.")],
    figures: Annotated[str | None, typer.Option(help="Figures to draw, separated by commas. Default: all.")] = None,
    formats: Annotated[str, typer.Option("--format", help="File formats of the figures: svg, png, pdf.")] = "svg",
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
    rules: Annotated[
        Path | None, typer.Option(help="YAML file with rules, as of `check`: the page shows the verdict.")
    ] = None,
    against: Annotated[Path | None, typer.Option(help="Reference study of these rules.")] = None,
    card: Annotated[
        Path | None, output("Write a Markdown section for a model card to this file, and nothing else.")
    ] = None,
    is_opened: Annotated[bool, typer.Option("--open", help="Open the report in the browser.")] = False,
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Rebuild tables, figures and report.html from the shards."""
    from embedshift.study import load

    if images is not None and gallery is not None:
        raise UsageError("give --images or --gallery, not both")
    if against is not None and rules is None:
        raise UsageError("--against is the reference of rules: give them by --rules FILE")
    log_lines(quiet)
    study = load(folder)
    if card is not None:
        write_text(card, study.card())
        say(f"Written: {card}")
        return
    if rules is not None:
        COMMANDS["check"].part("check").record_rules(study, rules, against, groups)
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
    say_all(output_lines(study.folder))
    if is_opened:
        open_in_browser((study.folder / "report.html").resolve().as_uri())


def measure(
    settings: Json, out: Path, *, quiet: bool, as_json: bool, report: bool = True, max_failed: str = HALF
) -> None:
    from embedshift.cli.terminal import progress
    from embedshift.encoders import check_name

    if settings.get("encoder") is None:  # a wrong name is refused before anything is said
        check_name(settings["config"].model)
    started = time.monotonic()
    starts: list[Any] = []
    with progress(quiet) as (on_start, step):

        def begun(start: Any) -> None:
            starts.append(start)
            on_start(start)

        from embedshift.runner import run_study  # whose libraries take seconds

        reader = run_study(**settings, out=out, progress=step, on_start=begun)
    # After the first lines, which wait for no table.
    from embedshift.cli.emit import emit
    from embedshift.cli.results import legend, result_grids, study_json, title
    from embedshift.report.numbers import count
    from embedshift.study import Study
    from embedshift.study.result import Output

    seconds, study = time.monotonic() - started, Study.of(reader)
    if report and not study.is_reported():
        from embedshift.report.build import build_report

        build_report(study.reader(), has_tables=starts[0].state != "complete")
    counts = study.reader().info.counts
    if as_json:
        emit(Output(study_json(study), []), with_flags, as_json=True)
    else:
        is_new = starts[0].done < starts[0].images and starts[0].state != "complete"
        when = f"in {seconds:.1f} s" if is_new else "before; nothing was left to do"
        line = f"{counts.measured} of {count(counts.images, 'image')} measured {when}."
        parts: list[Any] = [title(study), *result_grids(study), *legend(study), line, *output_lines(study.folder)]
        emit(Output({}, parts), with_flags)
    for first in study.failures().head(1).iter_rows(named=True):
        log.warning(
            "%d of %d images could not be measured (first: %s, stage %s: %s); %s lists all of them",
            counts.failed, counts.images, first["image_id"], first["stage"], first["reason"], out / "failures.parquet",
        )  # fmt: skip
    refuse_failures(out, max_failed)


def most_failed(limit: str, images: int) -> Fraction:
    return Fraction(limit) * (images if "." in limit else 1)


def refuse_failures(folder: Path, limit: str) -> None:
    from embedshift.store.info import read_info

    info = read_info(folder)
    failed, tried = info.counts.failed, info.images_tried
    if failed > most_failed(limit, tried):
        than = "half" if limit == HALF else f"--max-failed {limit}"
        raise EmbedshiftError(
            f"{failed} of {tried} images could not be measured, more than {than}; "
            f"the study is complete without them: {folder}"
        )
