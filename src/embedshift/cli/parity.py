"""The command `embedshift parity`: does another stack give the same vectors, and why not?"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import embedshift
from embedshift.cli.app import IMAGES_WORDS, AsJson, Quiet, app, log_lines
from embedshift.cli.options import given, output, taken_columns, with_options
from embedshift.cli.outputs import say, say_all, write_text
from embedshift.config import ColumnNames, Json, Triple, setting_of_study, validated
from embedshift.errors import UsageError

if TYPE_CHECKING:
    from embedshift.stacks.result import Parity

ImagesOrNone = Annotated[
    list[str] | None, typer.Argument(help=f"{IMAGES_WORDS} Default: sixteen photographs and odd files.")
]


@dataclass(frozen=True)
class GraphSettings:
    """What an ONNX graph lacks that has no preprocessor_config.json beside it."""

    size: int | None = setting_of_study("size")
    mean: Triple | None = setting_of_study("mean")
    std: Triple | None = setting_of_study("std")


@app.command(rich_help_panel="Guard")
@with_options(GraphSettings, ColumnNames)
def parity(
    reference: Annotated[str, typer.Argument(help="A model as for `run`, or a file of --lock.")],
    served: Annotated[
        str | None,
        typer.Argument(
            help="The other stack: python:module:function, onnx:PATH, a model, or a Parquet or npy file of vectors."
        ),
    ] = None,
    images: ImagesOrNone = None,
    lock: Annotated[
        Path | None,
        output(
            "Write images and their vectors to NAME.lock, a reference for later: parity REFERENCE [IMAGES]... --lock."
        ),
    ] = None,
    tolerance: Annotated[float, typer.Option(help="The largest relative shift that passes.")] = 0.01,
    ids: Annotated[Path | None, typer.Option(help="File of the ids of the images, one per row of an npy file.")] = None,
    no_causes: Annotated[bool, typer.Option("--no-causes", help="Measure the distance only: seconds.")] = False,
    figure: Annotated[Path | None, typer.Option(help="Draw how the distance falls: a png, svg or pdf file.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a pull request summary to this file.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Compare two implementations of an encoder; name the steps that differ; exit code 3 beyond the tolerance."""
    from embedshift.cli.terminal import repeating
    from embedshift.config.safe_files import refuse_output, write_file

    log_lines(quiet)
    columns = taken_columns(settings)
    if lock is not None:
        _write_lock(reference, [*([served] if served else []), *(images or [])], lock, settings)
        return
    if served is None:
        raise UsageError("no other stack to compare with: give it after REFERENCE, or write a file by --lock")
    for file in filter(None, (figure, junit, markdown)):  # before minutes of work
        refuse_output(file)
    if figure is not None and figure.suffix not in (".png", ".svg", ".pdf"):
        raise UsageError(f"{figure}: the name of a figure ends with .png, .svg or .pdf")
    with repeating("reading libraries"):
        first, second = _stacks(settings, reference, served)
        given_ids: Json = {"ids": ids, "columns": columns}
        result = embedshift.parity(first, second, images, tolerance=tolerance, causes=not no_causes, **given_ids)
    _print(result, as_json)
    for path, text in ((junit, result.to_junit()), (markdown, result.to_markdown())):
        if path is not None:
            write_text(path, text)
    if figure is not None:
        result.figure().savefig(content := io.BytesIO(), format=figure.suffix[1:])
        write_file(figure, content.getvalue())
    if not result.passed:
        raise typer.Exit(3)


def _print(result: "Parity", as_json: bool) -> None:
    if as_json:
        say(json.dumps(result.to_json()))
        return
    for row in result.distance.search:
        words = f"recall@1 {row['recall@1']:.3f}, neighbours kept {row['neighbours']:.3f}"
        say(f"queries {row['queries']}, index {row['index']}: {words}")
    for step, alteration, before, after, _ in result.table().rows():
        say(f"step {step}, {alteration}: mean 1 − cosine {before:.2g} → {after:.2g}")
    say(f"{result.verdict}.")
    say_all([result.sentence, *result.changes])


def _write_lock(model: str, images: list[str], out: Path, settings: Json) -> None:
    from embedshift.cli.terminal import repeating
    from embedshift.report.numbers import count

    with repeating(f"loading {model}"):
        from embedshift.stacks.images import write_lock

        [encoder] = _stacks(settings, model)
        about = write_lock(images or None, encoder, out)
    say(f"Written: {out}, {count(len(about['ids']), 'image')}, {out.stat().st_size / 1e6:.1f} MB")


def _stacks(settings: Json, *names: str) -> list[Any]:
    chosen = given(vars(validated(GraphSettings, given(settings))))
    graphs = [name for name in names if chosen and name.startswith("onnx:")]
    if chosen and not graphs:
        raise UsageError(f"`{next(iter(chosen))}` is for onnx: graphs, and {' and '.join(names)} is none")
    return [embedshift.load_encoder(name, **chosen) if name in graphs else name for name in names]
