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
    described = summary(reader.rows(), reader.augmentations, reader.metrics, seed=reader.info.seed)
    made = {"summary": described, "ranking": ranking(described)}
    for table in tables_of(reader.questions):
        made[table.name] = table.make(dataclasses.replace(reader, made=made))
    return made


def write_tables(reader: Reader) -> None:
    """Rebuilds every table from the shards, as CSV and Parquet."""
    made = make_tables(reader)
    (reader.folder / "tables").mkdir(exist_ok=True)
    for name, table in made.items():
        write_whole(reader.folder / "tables" / f"{name}.csv", table.write_csv)
        write_whole(reader.folder / "tables" / f"{name}.parquet", table.write_parquet)
