"""The text of `whiten`: what a search finds with each map, and how the file is used."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from embedshift.report.numbers import fixed
from embedshift.statistics.whitening import sentences
from embedshift.store.embeddings import images_tried
from embedshift.study import Study
from embedshift.study.result import Grid

# What follows a file that is loaded.
LINES = (
    '  x = vectors / np.linalg.norm(np.float64(vectors), axis=1, keepdims=True) - file["mean"]',
    '  x = x @ file["matrix"]; x /= np.linalg.norm(x, axis=1, keepdims=True)',
)


def printed(
    studies: Sequence[Study], tables: Sequence[pl.DataFrame], name: str | None, out: Path, onnx: Path | None
) -> Iterator[str | Grid]:
    """Yields what `whiten` prints: a table of each study, sentences, and how the file is used."""
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
    also = f"; {onnx}" if onnx else ""
    yield f"Written: {out}, the map {name!r}{also}. Apply it in three lines:"
    yield f"  file = np.load({str(out)!r})"
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
