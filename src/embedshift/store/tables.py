"""Makes all tables from the shards: those of the core, then those of the questions, in order of dependence."""

import dataclasses
from collections.abc import Collection

import polars as pl

from embedshift.registry import Question
from embedshift.statistics.differences import differences
from embedshift.statistics.summary import measured, performance, ranked_metrics, ranking, summary
from embedshift.store.baselines import baselines, group_sizes
from embedshift.store.labels import labels_of, read_table, table_path, with_hashes, write_labelled
from embedshift.store.reader import Reader
from embedshift.store.shards import write_whole
from embedshift.store.table import Table, tables_of

__all__ = ["Table", "make_tables", "tables_after", "tables_of", "write_tables"]


def make_tables(reader: Reader, only: Collection[str] | None = None) -> dict[str, pl.DataFrame]:
    """Makes the tables of a study from its shards."""
    made: dict[str, pl.DataFrame] = {}
    tables = [each for each in tables_of(reader.questions) if each.is_available(reader)]
    tables = [each for each in tables if only is None or each.name in only]
    # First what reads no other table: it may be refused, as a tree on embeddings that are not stored.
    for table in tables:
        if not table.reads:
            made[table.name] = _made(table, reader)
    if only is None:
        made |= _core_tables(reader)
    for table in tables:
        if table.reads:
            made[table.name] = _made(table, dataclasses.replace(reader, made=dict(made)))
    return {name: made[name] for name in reader.table_names if name in made}


def tables_after(reader: Reader, question: Question) -> set[str]:
    """Returns the names of a question's tables, and of all tables that read one of them."""
    names = {table.name for table in tables_of([question])}
    for table in tables_of(reader.questions):
        if names & {*table.reads}:
            names.add(table.name)
    return names


def _made(table: Table, reader: Reader) -> pl.DataFrame:
    """Returns the table; the stored one if it was made from the same data."""
    if table.labels is not None and labels_of(reader.folder, table.name) == table.labels(reader):
        return read_table(reader.folder, table.name, reader.image_ids)
    return table.make(reader)


def _core_tables(reader: Reader) -> dict[str, pl.DataFrame]:
    """Returns the tables over all metrics; they share one sample of the images, so that they agree."""
    seed, known = reader.info.seed, baselines(reader)
    of = measured(reader.groups, reader.augmentations, reader.metrics, group_sizes(known))
    described = summary(reader.groups, of, seed=seed, baselines=known)
    intervals = performance(of, ranked_metrics(described), seed=seed, baselines=known)
    order = ranking(described).join(intervals, on="augmentation", how="left", maintain_order="left")
    made = {"summary": described, "ranking": order}
    return made | ({"differences": differences(of, seed=seed)} if reader.has_pairs else {})


def write_tables(reader: Reader, only: Collection[str] | None = None) -> None:
    """Writes tables again from the shards, as CSV and Parquet; tables of single images only as Parquet."""
    made, own = make_tables(reader, only), {table.name: table for table in tables_of(reader.questions)}
    # Before anything is written, because the files may contain them.
    labels = {name: each.labels(reader) for name, each in own.items() if each.labels is not None and name in made}
    for name, made_table in made.items():
        hidden = own[name].names if name in own and not reader.pictures else ()
        table = with_hashes(made_table, hidden)
        if name not in own or not own[name].per_image:
            write_whole(reader.folder / "tables" / f"{name}.csv", table.write_csv)
        if name in labels:
            write_labelled(reader.folder, name, table, labels[name], hidden)
        else:
            write_whole(table_path(reader.folder, name), table.write_parquet)
