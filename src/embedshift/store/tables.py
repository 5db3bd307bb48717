"""Shards → tables: those of the core, and those of the questions, each after the tables that it reads."""

import dataclasses

import polars as pl

from embedshift.statistics.summary import ranking, summary
from embedshift.store.reader import Reader
from embedshift.store.shards import write_whole
from embedshift.store.table import Table, tables_of

__all__ = ["Table", "make_tables", "tables_of", "write_tables"]


def make_tables(reader: Reader) -> dict[str, pl.DataFrame]:
    """Every table of a study, made from its shards."""
    made: dict[str, pl.DataFrame] = {}
    tables = [table for table in tables_of(reader.questions) if table.possible(reader)]
    # First what reads no other table: it may be refused, as a tree on embeddings that are not stored.
    for table in tables:
        if not table.reads:
            made[table.name] = table.make(reader)
    made["summary"] = summary(reader.rows(), reader.augmentations, reader.metrics, seed=reader.info.seed)
    made["ranking"] = ranking(made["summary"])
    for table in tables:
        if table.reads:
            made[table.name] = table.make(dataclasses.replace(reader, made=dict(made)))
    return {name: made[name] for name in reader.table_names}


def write_tables(reader: Reader) -> None:
    """Rebuilds every table from the shards, as CSV and Parquet."""
    made = make_tables(reader)
    (reader.folder / "tables").mkdir(exist_ok=True)
    for name, table in made.items():
        write_whole(reader.folder / "tables" / f"{name}.csv", table.write_csv)
        write_whole(reader.folder / "tables" / f"{name}.parquet", table.write_parquet)
