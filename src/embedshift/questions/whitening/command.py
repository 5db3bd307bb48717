"""The command `embedshift whiten`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedshift.config import GroupedOptions
from embedshift.registry import argument, setting

if TYPE_CHECKING:
    from embedshift.study.result import Output


@dataclass(frozen=True, kw_only=True)
class Options(GroupedOptions):
    """Options of `whiten`."""

    studies: list[Path] = argument("Finished studies of one encoder that store embeddings.", "DIR...")
    out: Path = setting(..., "File for the map: MAP.npz.", output=True)
    onnx: Path | None = setting(None, "Write the map as an ONNX graph, too.")
    choice: str | None = setting(
        None,
        "Write this map: centred, originals or shifts. Default: the recommended one, if there is one.",
        flag="map",
        rare=True,
    )


def command(options: Options) -> "Output":
    """Fits the map, and shows what a search finds with it."""
    from embedshift.questions.whitening.grids import printed
    from embedshift.study import load
    from embedshift.study.result import Output
    from embedshift.study.whitening import check_studies, recommendation, whiten, whitening_tables

    studies = [load(folder) for folder in options.studies]
    check_studies(studies)
    for study in studies:
        study.regroup(options.groups)
    measured = [study for study in studies if study.augmentations]
    tables = whitening_tables(measured)
    best = recommendation(tables)
    name = options.choice or best
    if name is not None:
        whiten(studies, out=options.out, map=name, onnx=options.onnx)
    by_study = {str(study.folder): table.to_dicts() for study, table in zip(measured, tables, strict=True)}
    file = None if name is None else str(options.out)
    content = {"map": file, "written": name, "recommended": best, "whitening": by_study}
    return Output(content, [*printed(measured, tables, name, options.out, options.onnx)])
