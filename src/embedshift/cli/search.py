"""The output of `embedshift search`."""

from collections.abc import Iterator

import polars as pl
from rich.table import Table

from embedshift.cli.terminal import interval, name_columns, number, number_columns, text_table
from embedshift.report.numbers import count
from embedshift.statistics.duplicates import rule_in_words
from embedshift.study import Study
from embedshift.study.whitening import WhitenedStudy

# Number of pairs of likely duplicates to print.
PRINTED = 10


def recall_table(study: Study, recall: pl.DataFrame) -> Table:
    reader, sizes = study.reader(), study.table("gallery_sizes")
    among = max(sizes.filter(kind="measured")["images"].to_list(), default=reader.info.counts.measured)
    views = max(recall["n"].to_list(), default=0)
    groups = f" ({reader.info.groups.chosen} groups, {reader.info.groups.count:,})" if reader.info.groups else ""
    among_words = f"search among {among:,} originals with {views:,} views of each augmentation{groups}"
    metrics = recall["metric"].unique(maintain_order=True).to_list()
    names = name_columns("augmentation", f"{metrics[0]}, 95 % interval")
    table = text_table(f"{reader.info.encoder.name}: {among_words}", *names, *number_columns(*metrics[1:]))
    rows = {(row["augmentation"], row["metric"]): row for row in recall.iter_rows(named=True)}
    least_first = recall.filter(metric=metrics[0]).sort("value", maintain_order=True, nulls_last=True)["augmentation"]
    for name in least_first:
        first, *others = (rows[name, metric] for metric in metrics)
        ends = interval(first["ci_low"], first["ci_high"])
        table.add_row(name, f"{number(first['value'])}  {ends}", *(number(row["value"]) for row in others))
    table.add_section()
    ranks = [int(name.removeprefix("recall@")) if name.startswith("recall@") else None for name in metrics]
    table.add_row("by chance", *("" if k is None else number(min(1.0, k / among)) for k in ranks))
    return table


def threshold_table(study: Study) -> Table:
    title = "Duplicates: cosine thresholds by false-match rate, and the fraction of views matched with their original"
    rates = number_columns("false-match\nrate", no_wrap=True)
    table = text_table(title, *rates, *name_columns("threshold, 95 % interval"))
    table.add_column("views matched:\nlowest")
    table.add_column("highest")
    matches = study.table("matches").drop_nulls("value") if study.augmentations else None
    for row in study.table("thresholds").iter_rows(named=True):
        ends = interval(row["ci_low"], row["ci_high"], 4)
        words = ["-", "-"]
        if matches is not None:
            matched = matches.filter(false_match_rate=row["false_match_rate"]).sort("value", maintain_order=True)
            words = [_ends(matched, end) for end in (0, -1)] if len(matched) else words
        table.add_row(f"{row['false_match_rate']:g}", f"{number(row['threshold'], 4)}  {ends}", *words)
    return table


def _ends(matched: pl.DataFrame, end: int) -> str:
    value, names = matched["value"][end], matched.filter(pl.col("value") == matched["value"][end])["augmentation"]
    return f"{value:.3f} {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def no_threshold(study: Study) -> str:
    images = study.info()["counts"]["measured"]
    words = f"No thresholds for duplicates: {images:,} images have too few pairs for the default false-match rates."
    return f"{words} A larger rate needs fewer, for example `--false-match-rate 0.05`."


def lines(study: Study) -> Iterator[str]:
    yield from question_lines(study)
    yield from duplicate_lines(study)
    sizes = study.table("gallery_sizes") if study.augmentations else pl.DataFrame()
    predicted = sizes.filter(kind="predicted").drop_nulls("recall") if len(sizes) else sizes
    if len(predicted):
        largest = predicted.filter(pl.col("images") == pl.col("images").max()).sort("recall", maintain_order=True)
        yield f"Predicted recall@1 among {largest['images'][0]:,} images:"
        for row in largest.iter_rows(named=True):
            ends = "" if row["ci_low"] is None else f" ({row['ci_low']:.3f} to {row['ci_high']:.3f})"
            yield f"  {row['recall']:.3f}{ends}  {row['augmentation']}"
    if isinstance(study, WhitenedStudy):
        yield "With the map; nothing was written. On images that it was fitted to, it may look better than on others."
        yield "Cosines and thresholds are of mapped embeddings: not comparable with those without the map."
        return
    yield f"Tables: {study.folder / 'tables'}. `embedshift report {study.folder}` adds them to the report."


def question_lines(study: Study) -> Iterator[str]:
    reader = study.reader()
    functions = [line for question in reader.questions for line in getattr(question.part("tables"), "LINES", ())]
    yield from filter(None, (line(reader) for line in functions))


def duplicate_lines(study: Study) -> Iterator[str]:
    """Yields the likely duplicates, the nearest first, or that there are none, and the rule that says so."""
    reader = study.reader()
    compared = reader.info.counts.measured if reader.groups is None else len(set(reader.groups))
    pairs, settings = study.table("duplicates"), reader.kept_settings("duplicates")
    rule = rule_in_words(settings, compared)
    if pairs.is_empty():
        yield f"No duplicates found: no two images have {rule}."
        return
    images, groups = pl.concat([pairs["image_id"], pairs["other"]]).n_unique(), pairs["group"].n_unique()
    words = f"{count(len(pairs), 'pair')} in {count(groups, 'group')} of {images:,} images"
    yield f"{words}, with {rule}:" if "threshold" in settings else f"Likely duplicates: {words}, with {rule}:"
    for row in pairs.head(PRINTED).iter_rows(named=True):
        whitened = "" if row["whitened"] is None else f"whitened {row['whitened']:.4f}  "
        yield f"  group {row['group']}  {whitened}cosine {row['cosine']:.4f}  {row['image_id']}  {row['other']}"
    if len(pairs) > PRINTED:
        yield f"  and {len(pairs) - PRINTED:,} more in {study.folder / 'tables' / 'duplicates.csv'}"
