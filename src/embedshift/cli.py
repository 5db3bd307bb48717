"""The command line: each command calls one function of the library. The only place that prints."""

import io
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import embedshift
from embedshift.augmentations import SUITES
from embedshift.clusters import Tree
from embedshift.demo import copy_photos
from embedshift.encoders import ENCODERS, FAMILIES, TITLES
from embedshift.errors import EmbedshiftError, reason
from embedshift.estimate import estimate
from embedshift.metrics import METRICS
from embedshift.results import Study, load
from embedshift.study import Prepared, make_config, read_config, run_study
from embedshift.terminal import (
    comparison_lines,
    comparison_table,
    err_console,
    out_console,
    progress,
    set_up_logging,
    summary_table,
)

log = logging.getLogger("embedshift")

app = typer.Typer(
    help=embedshift.__doc__.splitlines()[0] if embedshift.__doc__ else None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on stderr but warnings and errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object of the summary on stdout.")]


def main() -> None:
    """Entry point: one line and an exit code for whatever a user can mend, 130 for Ctrl-C."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names may hold bytes that are no text
    try:
        app(standalone_mode=True)
    except EmbedshiftError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("stopped", 130)
    except OSError as error:
        _fail(f"{error.filename or 'input or output'}: {error.strerror or reason(error)}", 1)


def _fail(line: str, code: int) -> None:
    err_console.print("[bold red]error:[/]", end=" ")
    err_console.print(line, markup=False, highlight=False, soft_wrap=True)
    # The output streams may be gone (a closed pipe, Ctrl-C in a loader): leave without running anything more.
    sys.stdout.flush()
    os._exit(code)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(embedshift.__version__)
        raise typer.Exit


@app.command()
def run(
    images: Annotated[
        list[str] | None, typer.Argument(help="A folder, several files and folders, or a .txt list.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder.")] = None,
    model: Annotated[str | None, typer.Option(help="Hub id, local folder, or a name: see `list encoders`.")] = None,
    embedding: Annotated[str | None, typer.Option(help="Which vector. Default: the family's first.")] = None,
    augmentations: Annotated[str | None, typer.Option(help="A registered suite.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Optional metrics besides the six, with commas.")] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Also the shift after every block of the encoder.")] = False,
    text: Annotated[bool, typer.Option("--text", help="Also against captions, and words for augmentations.")] = False,
    labels: Annotated[str | None, typer.Option(help="A file of class names, one a line: zero-shot flips.")] = None,
    words: Annotated[str | None, typer.Option(help="YAML of augmentation: phrase, for --text.")] = None,
    store: Annotated[str | None, typer.Option(help="all, or metrics: no vectors. Default: all.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N images.")] = None,
    sample: Annotated[int | None, typer.Option(help="N images drawn by the seed.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides every draw. Default: 0.")] = None,
    draws: Annotated[int | None, typer.Option(help="Views per augmentation. Default: 1.")] = None,
    size: Annotated[int | None, typer.Option(help="Input size in pixels. Default: the encoder's.")] = None,
    resize: Annotated[str | None, typer.Option(help="squash or crop. Default: squash.")] = None,
    shard_size: Annotated[int | None, typer.Option(help="Images per shard. Default: 64.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Views per forward pass. Default: by device.")] = None,
    workers: Annotated[int | None, typer.Option(help="Loader processes. Default: one a core.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16. Default: float32.")] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the encoder first: faster, half a minute.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="auto (all GPUs), cpu, mps, cuda:0,cuda:2.")] = None,
    engine: Annotated[str | None, typer.Option(help="local or ray. Default: local.")] = None,
    num_gpus: Annotated[float | None, typer.Option(help="Ray: GPUs of one encoder. Default: 1, if any.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Ray: encoders at once. Default: all that fit.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML with any of these settings; flags win over it.")] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Shards and tables only.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, estimate, write nothing.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure an encoder on images: shards, tables, and a summary on stdout."""
    flags = {
        "images": images or None, "model": model, "embedding": embedding, "augmentations": augmentations,
        "limit": limit, "sample": sample, "seed": seed, "draws": draws, "size": size, "resize": resize,
        "shard_size": shard_size, "batch_size": batch_size, "workers": workers, "precision": precision,
        "device": device, "engine": engine, "num_gpus": num_gpus, "concurrency": concurrency,
        "metrics": None if metrics is None else _names(metrics), "layers": layers or None,
        "text": text or None, "labels": labels, "words": words, "store": store,
        "compile": compiled or None,
    }  # fmt: skip
    settings = ({} if config is None else read_config(config)) | {k: v for k, v in flags.items() if v is not None}
    if not settings.get("images"):
        raise EmbedshiftError("name the images: a folder, files, or a .txt list", exit_code=2)
    if out is None and not dry_run:
        raise EmbedshiftError("name the study's folder: --out DIR", exit_code=2)
    set_up_logging(quiet)
    if dry_run:
        prepared = Prepared(make_config(settings), out or Path())
        for line in estimate(prepared):
            typer.echo(line)
        return
    assert out is not None
    _measure(settings, out, quiet=quiet, as_json=as_json, report=not no_report)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The study's folder.")],
    figures: Annotated[str | None, typer.Option(help="Only these, with commas. Default: all.")] = None,
    formats: Annotated[str, typer.Option("--format", help="Of the figures' files: png, svg, pdf.")] = "png,svg",
    linkage: Annotated[str, typer.Option(help="ward, average, complete or single.")] = "ward",
    clusters_on: Annotated[str, typer.Option(help="Distances of images, or of the means.")] = "images",
    pdist_metric: Annotated[str, typer.Option(help="For --clusters-on means: any of scipy's pdist.")] = "euclidean",
    include_original: Annotated[bool, typer.Option("--include-original", help="The original as a leaf.")] = False,
    images: Annotated[str | None, typer.Option(help="Image ids for figures 1 and 4a, with commas.")] = None,
    gallery: Annotated[int | None, typer.Option(min=1, help="So many images, by the seed, instead.")] = None,
    no_thumbnails: Annotated[bool, typer.Option("--no-thumbnails", help="No picture in any file.")] = False,
    quiet: Quiet = False,
) -> None:
    """Rebuild tables, figures and report.html from the shards."""
    if images is not None and gallery is not None:
        raise EmbedshiftError("give --images or --gallery, not both", exit_code=2)
    set_up_logging(quiet)
    study = load(folder)
    study.report(
        figures=None if figures is None else _names(figures),
        formats=_names(formats),
        tree=Tree(linkage, clusters_on, pdist_metric, include_original),  # type: ignore[arg-type]
        images=gallery if images is None else _names(images),
        thumbnails=not no_thumbnails,
    )
    _say_written(study)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path("embedshift-demo"),
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure the bundled encoder on eight photographs that scikit-image and scikit-learn ship."""
    set_up_logging(quiet)
    photos = copy_photos(out / "photos")
    _measure({"images": [str(photos)], "model": "dinov2-small-offline"}, out, quiet=quiet, as_json=as_json)


@app.command()
def compare(
    studies: Annotated[
        list[Path], typer.Argument(metavar="DIR DIR...", help="Finished studies; the first is the reference.")
    ],
    out: Annotated[Path | None, typer.Option(help="A folder for tables and figures. Default: none.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare studies of the same images and views: encoders, precisions or checkpoints, paired by image."""
    set_up_logging(quiet)
    found = embedshift.compare(studies, out=out)
    if as_json:
        typer.echo(json.dumps(found.to_dicts(), ensure_ascii=False))
        return
    Console(width=max(out_console.width, 140)).print(comparison_table(found))
    for line in comparison_lines(found):
        typer.echo(line)
    if out is not None:
        typer.echo(f"Written: {out}")


@app.command("list")
def list_known(kind: Annotated[str, typer.Argument(help="encoders, augmentations, metrics or figures.")]) -> None:
    """List what can be named: encoders, augmentations, metrics or figures."""
    lines: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
        "encoders": _encoders, "augmentations": _augmentations, "metrics": _metrics, "figures": _figures
    }  # fmt: skip
    if kind not in lines:
        raise EmbedshiftError(f"list what? {', '.join(lines)}; not {kind!r}", exit_code=2)
    found = list(lines[kind]())
    width = max(len(name) for name, _ in found)
    for name, text in found:
        typer.echo(f"{name:{width}}  {text}")


def _encoders() -> Iterator[tuple[str, str]]:
    for name in ENCODERS:
        yield name, f"bundled (extra 'offline'): {TITLES[name]}"
    for family in FAMILIES:
        yield family.example, family.summary


def _augmentations() -> Iterator[tuple[str, str]]:
    for name in SUITES:
        yield name, ", ".join(SUITES[name]())


def _metrics() -> Iterator[tuple[str, str]]:
    for name in METRICS:
        metric = METRICS[name]
        better = "nearer" if metric.low < metric.no_change < metric.high else "lower"
        better = "higher" if metric.higher_is_better else better
        off = f" Off by default ({metric.option})." if metric.optional else ""
        yield name, f"[{metric.family}] {metric.summary} No change = {metric.no_change:g}; {better} = less change.{off}"


def _figures() -> Iterator[tuple[str, str]]:
    from embedshift.figures import FIGURES

    for name in sorted(FIGURES, key=lambda each: FIGURES[each].number):
        yield name, f"[{FIGURES[name].number.lstrip('0')}] {FIGURES[name].title}"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _measure(settings: dict[str, Any], out: Path, *, quiet: bool, as_json: bool, report: bool = True) -> None:
    started = time.monotonic()
    try:
        with progress(quiet) as (on_start, step):
            study = run_study(make_config(settings), out, progress=step, on_start=on_start)
        seconds = time.monotonic() - started
        if report and not study.is_reported():
            study.report()
    except KeyboardInterrupt as error:  # typer would end without a word
        raise EmbedshiftError("stopped; run the same command again to go on where it stopped", exit_code=130) from error
    failures = study.failures()
    if as_json:
        typer.echo(json.dumps(_json(study)))
    else:
        Console(width=max(out_console.width, 140)).print(summary_table(study))
        counts = study.info()["counts"]
        typer.echo(f"{counts['measured']} of {counts['images']} images measured in {seconds:.1f} s.")
        _say_written(study)
    if len(failures):
        first = failures.row(0, named=True)
        log.warning(
            "%d of %d images were not measured (first: %s, %s: %s); all are in %s",
            len(failures), study.info()["counts"]["images"], first["image_id"], first["stage"], first["reason"],
            out / "failures.parquet",
        )  # fmt: skip


def _say_written(study: Study) -> None:
    typer.echo("Written:")
    for name in ("study.json", "shards", "failures.parquet", "tables", "figures", "report.html"):
        if (study.folder / name).exists():
            typer.echo(f"  {study.folder / name}")


def _json(study: Study) -> dict[str, Any]:
    info = study.info()
    tables = {name: getattr(study, name)().to_dicts() for name in study.table_names}
    head = {"study": str(study.folder), "config_hash": info["config_hash"], "encoder": info["encoder"]}
    return head | {"counts": info["counts"]} | tables
