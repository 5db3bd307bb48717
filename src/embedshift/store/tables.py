"""Shards → tables: those of the core, and those of the questions, each after the tables that it reads."""

import dataclasses
from collections.abc import Collection

import polars as pl

from embedshift.registry import Question
from embedshift.statistics.differences import differences
from embedshift.statistics.summary import measured, performance, ranked_metrics, ranking, summary
from embedshift.store.floors import floors, group_sizes
from embedshift.store.labels import labels_of, read_table, table_path, with_hashes, write_labelled
from embedshift.store.reader import Reader
from embedshift.store.shards import write_whole
from embedshift.store.table import Table, tables_of

__all__ = ["Table", "make_tables", "tables_after", "tables_of", "write_tables"]


def make_tables(reader: Reader, only: Collection[str] | None = None) -> dict[str, pl.DataFrame]:
    """The tables of a study, made from its shards.

    Args:
        reader: The study.
        only: Names of those of its questions to make; what they read beside each other is read from the folder. None =
            every table.
    """
    made: dict[str, pl.DataFrame] = {}
    tables = [each for each in tables_of(reader.questions) if each.possible(reader)]
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
    """Names of a question's tables, and of all tables that read one of them."""
    names = {table.name for table in tables_of([question])}
    for table in tables_of(reader.questions):
        if names & {*table.reads}:
            names.add(table.name)
    return names


def _made(table: Table, reader: Reader) -> pl.DataFrame:
    """The table: as it is kept, where it was made from the same."""
    if table.labels is not None and labels_of(reader.folder, table.name) == table.labels(reader):
        return read_table(reader.folder, table.name, reader.image_ids)
    return table.make(reader)


def _core_tables(reader: Reader) -> dict[str, pl.DataFrame]:
    """Those over whatever metrics there are; all from one sample of the images, so that they agree."""
    seed, known = reader.info.seed, floors(reader)
    of = measured(reader.groups, reader.augmentations, reader.metrics, group_sizes(known))
    described = summary(reader.groups, of, seed=seed, floors=known)
    intervals = performance(of, ranked_metrics(described), seed=seed, floors=known)
    order = ranking(described).join(intervals, on="augmentation", how="left", maintain_order="left")
    made = {"summary": described, "ranking": order}
    return made | ({"differences": differences(of, seed=seed)} if reader.has_pairs else {})


def write_tables(reader: Reader, only: Collection[str] | None = None) -> None:
    """Rebuilds tables from the shards, as CSV and Parquet; those of single images as Parquet alone.

    Args:
        reader: The study.
        only: Names, as `make_tables` takes them.
    """
    made, own = make_tables(reader, only), {table.name: table for table in tables_of(reader.questions)}
    # Before anything is written, since they may be said in the files.
    labels = {name: each.labels(reader) for name, each in own.items() if each.labels is not None and name in made}
    for name, made_table in made.items():
        hidden = own[name].names if name in own and not reader.pictures else ()
        table = with_hashes(made_table, hidden)
        if name not in own or not own[name].of_images:
            write_whole(reader.folder / "tables" / f"{name}.csv", table.write_csv)
        if name in labels:
            write_labelled(reader.folder, name, table, labels[name], hidden)
        else:
            write_whole(table_path(reader.folder, name), table.write_parquet)
