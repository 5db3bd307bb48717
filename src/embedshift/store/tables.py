"""Shards → tables: those of the core, and those of the questions, each after the tables that it reads."""

import dataclasses

import polars as pl

from embedshift.statistics.differences import differences
from embedshift.statistics.summary import measured, performance, ranked_metrics, ranking, summary
from embedshift.store.floors import floors, group_sizes
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
    made |= _core_tables(reader)
    for table in tables:
        if table.reads:
            made[table.name] = table.make(dataclasses.replace(reader, made=dict(made)))
    return {name: made[name] for name in reader.table_names}


def _core_tables(reader: Reader) -> dict[str, pl.DataFrame]:
    """Those over whatever metrics there are; all from one sample of the images, so that they agree."""
    seed, known = reader.info.seed, floors(reader)
    of = measured(reader.rows(), reader.augmentations, reader.metrics, group_sizes(known))
    described = summary(reader.rows(), of, seed=seed, floors=known)
    intervals = performance(of, ranked_metrics(described), seed=seed, floors=known)
    order = ranking(described).join(intervals, on="augmentation", how="left", maintain_order="left")
    made = {"summary": described, "ranking": order}
    return made | ({"differences": differences(of, seed=seed)} if reader.has_pairs else {})


def write_tables(reader: Reader) -> None:
    """Rebuilds every table from the shards, as CSV and Parquet."""
    made = make_tables(reader)
    (reader.folder / "tables").mkdir(exist_ok=True)
    for name, table in made.items():
        write_whole(reader.folder / "tables" / f"{name}.csv", table.write_csv)
        write_whole(reader.folder / "tables" / f"{name}.parquet", table.write_parquet)
