"""The output of `embedshift whiten`: what a search finds with each map, a recommendation, and how to apply the file."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.table import Table

import embedshift
from embedshift.cli.terminal import name_columns, number, number_columns, print_table, text_table
from embedshift.cli.words import say
from embedshift.study import Study, load
from embedshift.study.whitening import MAPS, check_studies, recommendation, whitening_tables

# What follows a file that is loaded.
LINES = (
    'x = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) - file["mean"]',
    'x = x @ file["matrix"]; x /= np.linalg.norm(x, axis=1, keepdims=True)',
)


def whiten_and_print(folders: Sequence[Path], out: Path, onnx: Path | None, choice: str | None, as_json: bool) -> None:
    """Fits and writes the map; prints the table of every study, the recommendation, and the lines that apply it."""
    studies = [load(folder) for folder in folders]
    check_studies(studies)
    measured = [study for study in studies if study.augmentations]
    tables = whitening_tables(measured)
    best = recommendation(tables)
    usual = best or ("shifts" if measured else "originals")
    fitted = embedshift.whiten(studies, out=out, map=choice or usual, onnx=onnx)
    if as_json:
        by_study = {str(study.folder): table.to_dicts() for study, table in zip(measured, tables, strict=True)}
        say(json.dumps({"map": str(out), "written": fitted.name, "recommended": best, "whitening": by_study}))
        return
    for study, table in zip(measured, tables, strict=True):
        print_table(whitening_table(study, table), ())
        say(sentence(table))
    say(f"Written: {out}, the map {fitted.name!r}" + (f"; {onnx}" if onnx else "") + ". Apply it in three lines:")
    say(f"  file = np.load({str(out)!r})")
    for line in LINES:
        say(f"  {line}")


def whitening_table(study: Study, table: pl.DataFrame) -> Table:
    """Returns the metrics, mean over the augmentations: as it is, and with each map."""
    title = (
        f"{study.reader().info.encoder.name}: search for views of images and changes that the map was not fitted to; "
        "* = the 95 % interval of the difference excludes 0"
    )
    numbers = number_columns("as it is", *table["map"].unique(maintain_order=True), no_wrap=True)
    printed = text_table(title, *name_columns("mean over augmentations"), *numbers)
    means = table.filter(augmentation="all")
    for metric in means["metric"].unique(maintain_order=True):
        printed.add_row(metric, *_cells(means.filter(metric=metric)))
    return printed


def _cells(rows: pl.DataFrame) -> list[str]:
    """Returns the value as it is, and that of each map."""
    differs = rows.select(((pl.col("ci_low") > 0) | (pl.col("ci_high") < 0)).fill_null(False)).to_series()
    cells = [f"{number(after)}{'*' if star else ' '}" for after, star in zip(rows["after"], differs, strict=True)]
    return [f"{number(rows['before'][0])} ", *cells]


def sentence(table: pl.DataFrame) -> str:
    """Returns which map is recommended for a study."""
    if table.is_empty():
        return "No map was tried: it takes two images, or groups of images."
    rows = table.filter("recommended", augmentation="all", metric="recall@1").to_dicts()
    if not rows:
        return "No map helps: none finds significantly more originals than the embeddings as they are."
    row = rows[0]
    ends = "" if row["ci_low"] is None else f" [{row['ci_low']:+.3f} to {row['ci_high']:+.3f}]"
    numbers = f"recall@1 {row['before']:.3f} → {row['after']:.3f}, {row['difference']:+.3f}{ends}"
    simpler = ", the simplest that is not worse than the best" if row["map"] != [*MAPS][-1] else ""
    return f"Recommended: {row['map']}{simpler}: {numbers}."
