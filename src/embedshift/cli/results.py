"""The output of a run: the summary of a study, and the tolerances of families."""

from collections.abc import Iterable, Iterator

from rich.table import Table

from embedshift.cli.search import duplicate_lines, question_lines
from embedshift.cli.terminal import interval, name_columns, number, number_columns, text_table
from embedshift.config import Json
from embedshift.registry import METRICS
from embedshift.report.numbers import in_percent
from embedshift.statistics.strengths import in_words, interval_in_words, with_interval_in_words
from embedshift.statistics.summary import COSINE, PAPER_METRICS
from embedshift.statistics.tolerance import LEAST_SAFE, MISSED, MISSED_CRITERION, RELATIVE_SHIFT, by_family
from embedshift.store.table import tables_of
from embedshift.store.target_width import why_ended
from embedshift.study import Study

PERFORMANCE = "mean\nperformance"
# Families whose safe strength is printed.
STOPS = 6


def summary_table(study: Study) -> Table:
    reader = study.reader()
    encoder, measured = reader.info.encoder, reader.info.counts.measured
    title = f"{encoder.name} ({encoder.precision}), {measured} images; means, sorted by shift"
    metrics = [m for m in PAPER_METRICS if m in reader.metrics]
    clusters = reader.table("clusters")
    table = text_table(title, *name_columns("augmentation"), *number_columns("relative shift"))
    table.add_column("95 % interval", justify="right", no_wrap=True)
    for heading in (*map(_heading, metrics), PERFORMANCE, *(() if clusters is None else ("cluster",))):
        table.add_column(heading, justify="right")
    rows = {(row["augmentation"], row["metric"]): row for row in study.summary().iter_rows(named=True)}
    cluster = {} if clusters is None else dict(clusters.select("augmentation", "cluster").iter_rows())
    ranked = study.ranking().to_dicts()
    ranked.sort(key=lambda row: _undefined_last(rows[row["augmentation"], COSINE]["mean"]))
    for row in ranked:
        name = row["augmentation"]
        cosine = rows[name, COSINE]
        cells = [
            number(cosine["relative_shift"]),
            interval(cosine["relative_shift_low"], cosine["relative_shift_high"]),
        ]
        cells += [number(rows[name, metric]["mean"]) for metric in metrics]
        cells += [number(row["mean_performance"])]
        if clusters is not None:
            cells += ["-" if cluster[name] is None else str(cluster[name])]
        table.add_row(name, *cells)
    baselines = [number(rows[ranked[0]["augmentation"], metric]["baseline"]) for metric in metrics]
    table.add_section()
    table.add_row("other images", "1", "", *baselines, number(ranked[0]["baseline"]))
    return table


def tolerance_table(study: Study) -> Table:
    """Returns for each family of rising strength its tolerance with interval, and the relative shift at every level."""
    reader = study.reader()
    encoder, measured = reader.info.encoder, reader.info.counts.measured
    title = (
        f"{encoder.name} ({encoder.precision}), {measured} images; tolerance: the strength at which the mean relative "
        f"shift reaches {RELATIVE_SHIFT:g}"
    )
    tolerance = study.table("tolerance")
    tolerances, missed = by_family(tolerance), by_family(tolerance, MISSED_CRITERION)
    names = ["family", "tolerance", "95 % interval", *([f"search misses {100 * MISSED:g} %"] if missed else [])]
    levels = map(_level, range(1, 1 + max(len(family.views) for family in reader.families)))
    table = text_table(title, *name_columns(*names), *number_columns(*levels, no_wrap=True))
    relative_shifts = (
        study.table("strength").filter(metric=COSINE).partition_by("family", as_dict=True, maintain_order=True)
    )
    for family in reader.families:
        row, missed_row = tolerances.get(family.name), missed.get(family.name)
        words = "-" if row is None else in_words(row["value"], family.unit)
        ends = "" if row is None else interval_in_words(row["low"], row["high"], family.unit)
        missed_cell = [with_interval_in_words(missed_row) if missed_row else "-"] if missed else []
        cells = map(number, relative_shifts[family.name,]["relative_shift"])
        table.add_row(family.name, words, ends or "-", *missed_cell, *cells)
    corruption = reader.table("corruption")
    mean = None if corruption is None else corruption.filter(corruption="mean").to_dicts()
    if mean:
        ends = interval(mean[0]["relative_shift_low"], mean[0]["relative_shift_high"])
        table.caption = f"mean corruption shift {number(mean[0]['relative_shift'])}, 95 % interval {ends}"
    return table


def result_tables(study: Study) -> Iterator[tuple[Table, list[str]]]:
    """Yields the tables that a run prints: tolerances of families first, and only these if there are many views."""
    reader = study.reader()
    if not reader.augmentations:
        return
    if "tolerance" in reader.table_names:
        levels = range(1, 1 + max(len(family.views) for family in reader.families))
        yield tolerance_table(study), [_level(level) for level in (*levels[1::2], *levels[::2])]
        if not reader.compares_all:
            return
    pixel_metrics, encoder_metrics = PAPER_METRICS[:2:-1], ("l2_distance", "attention_similarity", COSINE)
    spare = [*_headings(pixel_metrics), "cluster", PERFORMANCE, *_headings(encoder_metrics)]
    yield summary_table(study), spare


def _headings(metrics: Iterable[str]) -> list[str]:
    return [_heading(metric) for metric in metrics if metric in METRICS]


def _heading(metric: str) -> str:
    return METRICS[metric].label.split()[0]


def _level(level: int) -> str:
    return f"shift at\nlevel {level}"


def legend(study: Study) -> Iterator[str]:
    """Yields what the columns of these tables mean, and where all numbers are; of originals alone the duplicates."""
    if not study.augmentations:
        yield from duplicate_lines(study)
        yield f"All numbers: {study.folder / 'tables'}"
        return
    yield "relative shift: 0 = unchanged, 1 = as far as another image."
    if ended := why_ended(study.reader().info):
        yield ended
    yield from stop_lines(study)
    yield from search_lines(study)
    yield from question_lines(study)
    yield "How to read this: `embedshift docs index`."
    yield f"Metrics: `embedshift list metrics`. All numbers: {study.folder / 'tables'}"


def search_lines(study: Study) -> Iterator[str]:
    search = study.reader().table("search")
    recalled = None if search is None else search.filter(metric="recall@1").drop_nulls("value")
    recalls = [] if recalled is None else recalled.sort("value", maintain_order=True).to_dicts()
    if recalls:
        rows = recalls[:1] if recalls[0]["value"] == recalls[-1]["value"] else (recalls[0], recalls[-1])
        names = [row["augmentation"] for row in rows] if len(rows) == min(2, len(recalls)) else ["every augmentation"]
        ends = [f"{in_percent(row['value'])[0]} under {name}" for row, name in zip(rows, names, strict=True)]
        yield f"A search finds the original first for {' to '.join(ends)}: `embedshift search {study.folder}`."


def stop_lines(study: Study) -> Iterator[str]:
    """Yields up to which strength a search surely misses few: the end of the interval with the weaker change."""
    reader = study.reader()
    missed = by_family(reader.table("tolerance"), MISSED_CRITERION)
    ends = {f: missed[f.name]["low" if f.rises else "high"] for f in reader.families if f.name in missed}
    safe = [f"{family.name} {in_words(end, family.unit)}" for family, end in ends.items() if end is not None]
    few, units = f"a search misses at most {100 * MISSED:g} %", reader.info.units
    if safe and units < LEAST_SAFE:
        yield f"Where may I stop? {units} are too few to show that {few}."
    elif safe:
        more = f" and {len(safe) - STOPS} more" if len(safe) > STOPS else ""
        yield f"Where may I stop? With 95 % confidence {few} up to {', '.join(safe[:STOPS])}{more}."


def _undefined_last(value: float | None) -> tuple[bool, float]:
    return value is None, value or 0.0


def study_json(study: Study) -> Json:
    info = study.info()
    large = {table.name for table in tables_of(study.reader().questions) if table.per_image}
    tables = {name: study.table(name).to_dicts() for name in study.table_names if name not in large}
    head = {"study": str(study.folder), "config_hash": info["config_hash"], "encoder": info["encoder"]}
    return head | {"counts": info["counts"], "until": info["until"]} | tables
