"""The command `embedshift drift`."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import embedshift
from embedshift.config import ColumnNames, GroupedOptions, Json
from embedshift.errors import UsageError
from embedshift.registry import argument, setting

if TYPE_CHECKING:
    from embedshift.study.result import Output

# The exit code where a batch is beyond the tolerance, or too small to judge.
BEYOND = 3
# The settings of a study that decide the vector of an image as it is.
ENCODER = (
    "model", "embedding", "mean", "std", "apply_to", "longest", "size", "resize", "precision", "allow_unstable"
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Options(GroupedOptions, ColumnNames):
    """Options of `drift`."""

    study: Path = argument("A finished study: the reference.", "STUDY")
    batches: list[Path] = argument("Parquet or npy files of vectors, or finished studies.", "BATCH...")
    images: bool = setting(False, "They are folders of images, which the study's encoder measures.")
    every: str | None = setting(None, "Cut by the column time: day, week; or after N vectors. Default: day.")
    out: Path | None = setting(None, "Folder for the page, tables and the figure.", output=True)
    tolerance: float | None = setting(
        None, "Exit with code 3 if a batch moved further than this relative shift, or is too small to say."
    )


def command(options: Options) -> "Output":
    """Names what happened to each batch."""
    from embedshift.questions.drift.result import check_tolerance, drift
    from embedshift.study import load
    from embedshift.study.result import Output

    tolerance = options.tolerance
    if tolerance is not None:  # before images are measured
        check_tolerance(tolerance)
    study = load(options.study).with_groups(options.groups)
    with tempfile.TemporaryDirectory() as place:
        given = options.batches
        if options.images:
            given = [measure_originals(study.info(), each, Path(place)) for each in given]
        found = drift(study, *given, every=options.every, columns=options.columns)
    written = [] if options.out is None else found.save(options.out)[-1:]
    beyond = () if tolerance is None else found.beyond(tolerance)
    fails = bool(beyond) or (tolerance is not None and bool(found.not_judged))
    answer = found.answer(written, BEYOND if fails else 0, beyond=beyond)
    lines = [f"Beyond the tolerance: {', '.join(beyond)}"] if beyond else []
    lines += ["Every row: `--json`. From the alarm to the cause: `embedshift docs drift`."]
    return Output(answer.content, [*answer.parts, *lines], answer.exit_code)


def measure_originals(info: Json, images: Path, place: Path) -> Path:
    """Returns a study inside `place` of the images in a folder as they are, by the encoder of another study's info."""
    from embedshift.sources.vector_source import KIND as VECTORS

    config = info["config"]
    if info["source"]["kind"] == VECTORS:
        raise UsageError("the study was made from vectors, without an encoder that measures images; give vectors")
    settings = {name: config[name] for name in ENCODER if config.get(name) is not None}
    out = place / str(len([*place.iterdir()])) / images.resolve().name
    embedshift.run(images, out=out, augmentations="none", progress=False, **settings)
    return out
