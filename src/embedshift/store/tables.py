"""Makes all tables from the shards: first independent tables, then the core's, then the rest."""

import dataclasses
from collections.abc import Collection, Iterator

import polars as pl

from embedshift.config.processes import one_blas_thread
from embedshift.registry import Question
from embedshift.statistics.summary import differences, performance, ranked_metrics, ranking, summary
from embedshift.store.baselines import baselines, measurements
from embedshift.store.groups import write_groups
from embedshift.store.info import TableRecord
from embedshift.store.reader import Reader
from embedshift.store.table import (
    Table,
    WrittenFiles,
    alteration,
    read_table,
    record_tables,
    table_path,
    tables_of,
    with_hashes,
    write_table,
)

DIFFERENCES = "tables/differences.parquet"


def make_tables(reader: Reader, only: Collection[str] | None = None) -> dict[str, pl.DataFrame]:
    made: dict[str, pl.DataFrame] = {}
    reader = dataclasses.replace(reader, made=made)  # one for all tables, to cache what it has read
    tables = [table for table in tables_of(reader.questions) if table.is_available(reader)]
    tables = [table for table in tables if only is None or table.name in only]
    # First the independent tables: one may be refused, as a tree on embeddings that are not stored.
    for table in tables:
        if not table.reads:
            made[table.name] = _make(table, reader)
    if only is None:
        made |= _core_tables(reader)
    elif pairs := _pairs_made_again(reader, only):
        made |= pairs
    for table in tables:
        if table.reads:
            made[table.name] = _make(table, reader)
    return {name: made[name] for name in reader.table_names if name in made}


def tables_after(reader: Reader, question: Question) -> set[str]:
    names = {table.name for table in tables_of([question])}
    for table in tables_of(reader.questions):
        if names & {*table.reads}:
            names.add(table.name)
    return names


def _make(table: Table[Reader], reader: Reader) -> pl.DataFrame:
    """Returns the table, from its file if it was made from the same data."""
    if table.settings is not None and reader.kept_settings(table.name) == table.settings(reader):
        return read_table(reader.folder, table.name, reader.info, reader.image_ids)
    return table.make(reader)


def _core_tables(reader: Reader) -> dict[str, pl.DataFrame]:
    """Returns the tables over all metrics; they share one sample of the images, so that they agree."""
    seed, by_metric, sample = reader.info.seed, baselines(reader), measurements(reader)
    metrics = summary(reader.image_rows, sample, seed=seed, baselines=by_metric)
    intervals = performance(sample, ranked_metrics(metrics), seed=seed, baselines=by_metric)
    order = ranking(metrics).join(intervals, on="augmentation", how="left", maintain_order="left")
    for question in reader.questions:
        # Functions of a reader: each returns augmentation, metric and its columns.
        for columns in getattr(question.part("tables"), "SUMMARY", ()):
            metrics = metrics.join(columns(reader), on=("augmentation", "metric"), how="left", maintain_order="left")
    made = {"summary": metrics, "ranking": order}
    if not reader.compares_all:
        return made
    return made | {"differences": pl.concat([differences(sample, seed=seed), *_other_pairs(reader)])}


def _other_pairs(reader: Reader) -> Iterator[pl.DataFrame]:
    """Yields the rows of `differences` for numbers that are not row metrics, as a search's."""
    for question in reader.questions:
        for pairs in getattr(question.part("tables"), "DIFFERENCES", ()):
            yield pairs(reader)


def _pairs_made_again(reader: Reader, only: Collection[str]) -> dict[str, pl.DataFrame]:
    """Returns `differences` with new rows of the questions whose tables are made again; nothing if it is not kept."""
    again = [question for question in reader.questions if hasattr(question.part("tables"), "DIFFERENCES")]
    is_read = any(table.name in only for table in tables_of(again))
    if not is_read or reader.index is not None or alteration(reader.folder, DIFFERENCES, reader.info):
        return {}
    kept = reader.need("differences").filter(pl.col("metric").is_in(reader.metrics))
    return {"differences": pl.concat([kept, *_other_pairs(reader)])}


def write_tables(reader: Reader, only: Collection[str] | None = None) -> WrittenFiles:
    """Writes tables as CSV and Parquet (tables of single images only as Parquet), then groups."""
    declared = {table.name: table for table in tables_of(reader.questions)}
    with one_blas_thread():
        made = make_tables(reader, only)
    # Before anything is written, because they may come from the existing tables.
    settings = {name: table.settings(reader) for name, table in declared.items() if table.settings and name in made}
    written = WrittenFiles(groups=reader.info.groups, rows=reader.measured_checksum())
    image_ids = frozenset() if reader.pictures else reader.image_ids()
    for name, made_table in made.items():
        hidden = declared[name].names if name in declared and not reader.pictures else ()
        table, path = with_hashes(made_table, hidden, image_ids), table_path(reader.folder, name)
        if name not in declared or not declared[name].per_image:
            written.files[f"tables/{name}.csv"] = write_table(path.with_suffix(".csv"), table)
        written.files[f"tables/{name}.parquet"] = write_table(path, table)
        written.tables[name] = TableRecord(settings=settings.get(name, {}), hidden=hidden)
    if reader.grouped is not None and written.groups is not None:
        written.files.update(write_groups(reader.folder, reader.grouped))
    return written


def update_tables(reader: Reader, only: Collection[str] | None = None) -> Reader:
    record_tables(reader.folder, write_tables(reader, only))
    return dataclasses.replace(reader.now(), grouped=None)
