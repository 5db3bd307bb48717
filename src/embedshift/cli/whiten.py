"""The output of `embedshift whiten`: what a search finds with each map, a recommendation, and how to apply the file."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.table import Table

import embedshift
from embedshift.cli.terminal import name_columns, number, number_columns, print_table, text_table
from embedshift.cli.words import say
from embedshift.statistics.whitening import sentences
from embedshift.study import Study, load
from embedshift.study.whitening import check_studies, recommendation, whitening_tables

# What follows a file that is loaded.
LINES = (
    'x = vectors / np.linalg.norm(np.float64(vectors), axis=1, keepdims=True) - file["mean"]',
    'x = x @ file["matrix"]; x /= np.linalg.norm(x, axis=1, keepdims=True)',
)


def whiten_and_print(
    folders: Sequence[Path], out: Path, onnx: Path | None, choice: str | None, groups: str | None, as_json: bool
) -> None:
    """Fits and writes the map; prints the table of every study, the recommendation, and the lines that apply it."""
    studies = [load(folder) for folder in folders]
    check_studies(studies)
    for study in studies:
        study.regroup(groups)
    measured = [study for study in studies if study.augmentations]
    tables = whitening_tables(measured)
    best = recommendation(tables)
    name = choice or best
    if name is not None:
        embedshift.whiten(studies, out=out, map=name, onnx=onnx)
    if as_json:
        by_study = {str(study.folder): table.to_dicts() for study, table in zip(measured, tables, strict=True)}
        file = None if name is None else str(out)
        say(json.dumps({"map": file, "written": name, "recommended": best, "whitening": by_study}))
        return
    for study, table in zip(measured, tables, strict=True):
        print_table(whitening_table(study, table), ())
        info = study.reader().info
        for line in sentences(
            table, info.counts.measured, info.encoder.dim, info.groups.chosen if info.groups else None
        ):
            say(line)
    tried = {each for table in tables for each in table["map"]}
    if not tables:
        say("No map was tried: these studies have no views of augmentations.")
    elif name is not None and tried and name not in tried:
        say(f"The map {name!r} was not tried: that takes a second family of augmentations.")
    if name is None:
        say("Nothing was written; `--map NAME` writes a map all the same.")
        return
    say(f"Written: {out}, the map {name!r}" + (f"; {onnx}" if onnx else "") + ". Apply it in three lines:")
    say(f"  file = np.load({str(out)!r})")
    for line in LINES:
        say(f"  {line}")


def whitening_table(study: Study, table: pl.DataFrame) -> Table:
    """Returns the metrics, mean over the augmentations: as it is, and with each map."""
    info = study.reader().info
    groups = f"{info.groups.chosen} groups, {info.groups.count:,}" if info.groups else "no groups"
    title = (
        f"{info.encoder.name}: search among other images, for other changes, than the map was fitted to "
        f"(fitted_: among the same images); {groups}; * = the 95 % interval of the difference excludes 0"
    )
    numbers = number_columns("among", "as it is", *table["map"].unique(maintain_order=True), no_wrap=True)
    printed = text_table(title, *name_columns("mean over augmentations"), *numbers)
    means = table.filter(augmentation="all")
    for metric in means["metric"].unique(maintain_order=True):
        printed.add_row(metric, *_cells(means.filter(metric=metric)))
    return printed


def _cells(rows: pl.DataFrame) -> list[str]:
    differs = rows.select(((pl.col("ci_low") > 0) | (pl.col("ci_high") < 0)).fill_null(False)).to_series()
    cells = [f"{number(after)}{'*' if star else ' '}" for after, star in zip(rows["after"], differs, strict=True)]
    return [f"{rows['gallery'][0]:,}", f"{number(rows['before'][0])} ", *cells]
