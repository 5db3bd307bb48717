"""The command `embedshift search`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from embedshift.config import GroupedOptions, Json
from embedshift.questions.search import grids
from embedshift.registry import argument, setting
from embedshift.report.numbers import count
from embedshift.statistics.duplicates import EXPECTED_FALSE
from embedshift.study import Study, load
from embedshift.study.lines import duplicate_lines, step_lines
from embedshift.study.result import Grid, Output
from embedshift.study.whitening import WhitenedStudy

# The tables that `--json` contains.
TABLES = ("search", "thresholds", "matches", "gallery_sizes", "duplicates")


@dataclass(frozen=True, kw_only=True)
class Options(GroupedOptions):
    """Options of `search`."""

    study: Path = argument("A finished study.")
    gallery: str = setting("", "More images to search: another study, or a Parquet or npy file of embeddings.")
    queries: str = setting("2000", "Number of images whose views are queries, or all.", rare=True)
    false_match_rate: str = setting(
        "",
        "False-match rates of the thresholds, with commas. Default: 0.01,0.001, if there are enough images.",
        rare=True,
    )
    whiten: Path | None = setting(None, "Map embeddings by this file of `whiten`.")
    threshold: float | None = setting(None, "List pairs from this cosine on as likely duplicates.", rare=True)
    expected_false: float | None = setting(
        None, "List likely duplicates until so many of them are expected to be false. Default: 1.", rare=True
    )
    layout: str = setting("one", "Vectors of an image: one, tiles, tiles-mean, mirror-mean or mirror-query.")
    beside: str = setting("", "Compare every augmentation with this one, image by image: how many more are found.")
    memory: float | None = setting(None, "Gigabytes for FAISS' index of a large gallery. Default: 4.", rare=True)


def command(options: Options) -> Output:
    """Tests whether a search finds the original of each view, and lists likely duplicates."""
    study = load(options.study) if options.whiten is None else WhitenedStudy(options.study, options.whiten)
    study.regroup(options.groups)
    threshold, expected = options.threshold, options.expected_false
    study.table(
        "search" if study.augmentations else "duplicates",
        queries=options.queries,
        false_match_rate=options.false_match_rate,
        gallery=options.gallery,
        threshold=threshold,
        expected_false=EXPECTED_FALSE if threshold is None and expected is None else expected,
        layout=options.layout,
        memory=options.memory,
    )
    content: Json = {"study": str(options.study)}
    if options.layout != "one":
        content["layout"] = options.layout
    content |= {name: study.table(name).to_dicts() for name in TABLES if name in study.table_names}
    if options.beside:
        content["beside"] = grids.beside(study, options.beside).to_dicts()
    return Output(content, [*_parts(study, options.beside)])


def _parts(study: Study, beside: str) -> Iterator[str | Grid]:
    if study.augmentations:
        yield grids.recall_grid(study, study.table("search"))
    if beside:
        yield grids.beside_grid(study, beside)
    if len(study.table("thresholds")):
        yield grids.threshold_grid(study)
    else:
        images = count(study.reader().info.counts.measured, "image")
        yield (
            f"No thresholds for duplicates: {images} cannot give enough pairs for the default rates. "
            "A larger rate needs fewer, for example `--false-match-rate 0.05`."
        )
    yield from duplicate_lines(study)
    yield from _predicted(study)
    if isinstance(study, WhitenedStudy):
        yield "With the map; nothing was written. On images that it was fitted to, it may look better than on others."
        yield "Cosines and thresholds are of mapped embeddings: not comparable with those without the map."
        return
    yield from step_lines(study, lists_duplicates=True)
    yield f"Tables: {study.folder / 'tables'}. `embedshift report {study.folder}` adds them to the report."


def _predicted(study: Study) -> Iterator[str]:
    if not study.augmentations:
        return
    predicted = study.table("gallery_sizes").filter(kind="predicted").drop_nulls("recall")
    largest = predicted.filter(pl.col("images") == pl.col("images").max()).sort("recall", maintain_order=True)
    if len(largest):
        yield f"Predicted recall@1 among {largest['images'][0]:,} images:"
    for row in largest.iter_rows(named=True):
        interval = "" if row["ci_low"] is None else f" ({row['ci_low']:.3f} to {row['ci_high']:.3f})"
        yield f"  {row['recall']:.3f}{interval}  {row['augmentation']}"
