"""The command `embedshift whiten`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from embedshift.config import GroupedOptions
from embedshift.registry import argument, setting
from embedshift.report.numbers import fixed
from embedshift.statistics.whitening import sentences
from embedshift.store.embeddings import images_tried
from embedshift.study import Study, load
from embedshift.study.result import Grid, Output
from embedshift.study.whitening import check_studies, recommendation, whiten, whitening_tables

# What follows a file that is loaded.
LINES = (
    '  x = vectors / np.linalg.norm(np.float64(vectors), axis=1, keepdims=True) - file["mean"]',
    '  x = x @ file["matrix"]; x /= np.linalg.norm(x, axis=1, keepdims=True)',
)


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


def command(options: Options) -> Output:
    """Fits the map, and shows what a search finds with it."""
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
    return Output(content, [*_parts(options, measured, tables, name)])


def _parts(
    options: Options, studies: list[Study], tables: list[pl.DataFrame], name: str | None
) -> Iterator[str | Grid]:
    for study, table in zip(studies, tables, strict=True):
        yield _grid(study, table)
        info = study.reader().info
        groups = info.groups.chosen if info.groups else None
        yield from sentences(table, info.counts.measured, images_tried(study.reader()), info.encoder.dim, groups)
    tried = {each for table in tables for each in table["map"]}
    if not tables:
        yield "No map was tried: these studies have no views of augmentations."
    elif name is not None and tried and name not in tried:
        yield f"The map {name!r} was not tried: that takes a second family of augmentations."
    if name is None:
        yield "Nothing was written; `--map NAME` writes a map all the same."
        return
    also = f"; {options.onnx}" if options.onnx else ""
    yield f"Written: {options.out}, the map {name!r}{also}. Apply it in three lines:"
    yield f"  file = np.load({str(options.out)!r})"
    yield from LINES


def _grid(study: Study, table: pl.DataFrame) -> Grid:
    info = study.reader().info
    groups = f"{info.groups.chosen} groups, {info.groups.count:,}" if info.groups else "no groups"
    title = (
        f"{info.encoder.name}: search among other images, for other changes, than the map was fitted to "
        f"(fitted_: among the same images); {groups}; * = the 95 % interval of the difference excludes 0"
    )
    means = table.filter(augmentation="all")
    headings = ["mean over augmentations", "among", "as it is", *table["map"].unique(maintain_order=True)]
    metrics = means["metric"].unique(maintain_order=True)
    rows = [[metric, *_cells(means.filter(metric=metric))] for metric in metrics]
    return Grid(headings, ("name", "number"), rows, title)


def _cells(rows: pl.DataFrame) -> list[str]:
    differs = rows.select(((pl.col("ci_low") > 0) | (pl.col("ci_high") < 0)).fill_null(False)).to_series()
    cells = [f"{fixed(after, 3)}{'*' if star else ' '}" for after, star in zip(rows["after"], differs, strict=True)]
    return [f"{rows['gallery'][0]:,}", f"{fixed(rows['before'][0], 3)} ", *cells]
