"""The text of a search: recall by augmentation, thresholds of duplicates, one augmentation beside others, and lines."""

from collections.abc import Iterator

import polars as pl

from embedshift.config import Json
from embedshift.questions.search.matching import least_found_first
from embedshift.registry import one_of
from embedshift.report.numbers import MISSING, count, ends, fixed
from embedshift.study import Study
from embedshift.study.indexed import IndexedStudy
from embedshift.study.lines import duplicate_lines, step_lines
from embedshift.study.result import Grid


def recall_grid(study: Study, recall: pl.DataFrame) -> Grid:
    """Returns what a search finds under each augmentation, the least found first."""
    reader, sizes = study.reader(), study.table("gallery_sizes")
    among = max(sizes.filter(kind="measured")["images"].to_list(), default=reader.info.counts.measured)
    views = max(recall["n"].to_list(), default=0)
    groups = f" ({reader.info.groups.chosen} groups, {reader.info.groups.count:,})" if reader.info.groups else ""
    title = (
        f"{reader.info.encoder.name}: search among {among:,} originals with {views:,} views of "
        f"each augmentation{groups}"
    )
    metrics = recall["metric"].unique(maintain_order=True).to_list()
    rows = recall.rows_by_key(["augmentation", "metric"], named=True, unique=True)
    cells: list[list[str]] = []
    for name in least_found_first(recall):
        first, *others = (rows[name, metric] for metric in metrics)
        interval = ends(first["ci_low"], first["ci_high"], 3)
        cells.append([name, f"{fixed(first['value'], 3)}  {interval}", *(fixed(row["value"], 3) for row in others)])
    ranks = [int(name.removeprefix("recall@")) if name.startswith("recall@") else None for name in metrics]
    cells += [[], ["by chance", *("" if k is None else fixed(min(1.0, k / among), 3) for k in ranks)]]
    headings = ["augmentation", f"{metrics[0]}, 95 % interval", *metrics[1:]]
    spare = ("knn_overlap@10", "recall@5", "recall@10")
    return Grid(headings, ("name", "name", "number"), cells, title, spare=spare)


def threshold_grid(study: Study) -> Grid:
    """Returns the threshold of each false-match rate, and the augmentations of which least and most is matched."""
    title = "Duplicates: cosine thresholds by false-match rate, and the fraction of views matched with their original"
    matches = study.table("matches").drop_nulls("value") if study.augmentations else None
    cells = []
    for row in study.table("thresholds").iter_rows(named=True):
        words = [MISSING, MISSING]
        if matches is not None:
            matched = matches.filter(false_match_rate=row["false_match_rate"]).sort("value", maintain_order=True)
            words = [_matched(matched, end) for end in (0, -1)] if len(matched) else words
        interval = ends(row["ci_low"], row["ci_high"], 4)
        cells.append([f"{row['false_match_rate']:g}", f"{fixed(row['threshold'], 4)}  {interval}", *words])
    headings = ("false-match\nrate", "threshold, 95 % interval", "views matched:\nlowest", "highest")
    return Grid(headings, ("number", "name", "text"), cells, title)


def _matched(matched: pl.DataFrame, end: int) -> str:
    value, names = matched["value"][end], matched.filter(pl.col("value") == matched["value"][end])["augmentation"]
    return f"{fixed(value, 3)} {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def beside(study: Study, name: str) -> pl.DataFrame:
    """Returns the paired differences of every augmentation from one, in percentage points: how much more is found."""
    one_of("augmentation", name, study.augmentations)
    is_pair = (pl.col("augmentation") == name) | (pl.col("other") == name)
    pairs = study.differences().filter(is_pair, pl.col("metric").is_in(["recall@1", "matched@0.001"]))
    is_turned = pl.col("other") != name
    points = {end: 100 * pl.col(end) for end in ("difference", "low", "high")}
    turned = {"difference": -points["difference"], "low": -points["high"], "high": -points["low"]}
    return pairs.select(
        pl.when(is_turned).then("other").otherwise("augmentation").alias("augmentation"),
        "metric",
        *(pl.when(is_turned).then(turned[end]).otherwise(points[end]).alias(end) for end in points),
        "significant",
    )


def beside_grid(study: Study, name: str) -> Grid:
    """Returns these differences, a row for each augmentation."""
    table = beside(study, name)
    metrics = table["metric"].unique(maintain_order=True).to_list()
    title = (
        f"percentage points more found than under {name} (negative: fewer), paired by image; * = significant, "
        "corrected for all pairs"
    )
    rows = table.rows_by_key(["augmentation", "metric"], named=True, unique=True)
    others = [each for each in study.augmentations if each != name]
    cells = [[other, *(_points(rows[other, metric]) for metric in metrics)] for other in others]
    return Grid(["augmentation", *metrics], ("name", "number"), cells, title)


def _points(row: Json) -> str:
    if row["difference"] is None or row["low"] is None:
        return MISSING
    interval = ends(row["low"], row["high"], 1)
    return f"{fixed(row['difference'], 1, signed=True)} ({interval}) {'*' if row['significant'] else ' '}"


def printed(study: Study, beside: str) -> Iterator[str | Grid]:
    """Yields what `search` prints: its tables, likely duplicates, larger galleries, and what to do now."""
    if study.augmentations:
        yield recall_grid(study, study.table("search"))
    if beside:
        yield beside_grid(study, beside)
    if len(study.table("thresholds")):
        yield threshold_grid(study)
    else:
        images = count(study.reader().info.counts.measured, "image")
        yield (
            f"No thresholds for duplicates: {images} cannot give enough pairs for the default rates. "
            "A larger rate needs fewer, for example `--false-match-rate 0.05`."
        )
    yield from duplicate_lines(study)
    yield from _predicted(study)
    if isinstance(study, IndexedStudy):
        name = study.search_index.name
        yield f"Map and size of {name}; nothing was written. Images that it was fitted to may look better than others."
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
