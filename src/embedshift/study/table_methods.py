"""Methods of `Study` for the tables of its questions; tables made again with other choices, or why there is none."""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from embedshift.errors import UsageError
from embedshift.statistics.vectors import MOST_AUGMENTATIONS
from embedshift.store.reader import Reader
from embedshift.store.table import InstalledTable, Table, installed_tables
from embedshift.store.tables import tables_after, update_tables


def table_method(read: Callable[..., pl.DataFrame], table: Table[Any]) -> Callable[..., pl.DataFrame]:
    def method(choices: object = None, /, **settings: Any) -> pl.DataFrame:
        given = choices is not None or any(settings[name] is not None for name in settings if name != "groups")
        return read(table.name, choices if given else table.choices, **settings)

    method.__name__ = method.__qualname__ = table.name
    method.__doc__ = table.doc
    return method


def table_made_again(reader: Reader, name: str, choices: object, settings: Mapping[str, Any]) -> pl.DataFrame:
    """Makes a table with other choices; one that is kept is written, with those that depend on it, if they differ."""
    entry = installed_tables().get(name)
    chosen = reader
    if entry is not None and entry.question.choices is not None:
        given = entry.question.choices(**settings) if choices is None else choices
        chosen = Reader(reader.folder, (given,), listing=reader.listing)
    is_asked = name in chosen.table_names
    if not is_asked and not (entry and _needs_no_run(chosen, entry)):
        raise UsageError(f"{reader.folder}: {reason_for_absence(reader, name)}")
    if entry is None or entry.question.choices is None:
        raise UsageError(f"the table {name!r} has no settings")
    if entry.table.settings is None or not is_asked:
        return entry.table.make(chosen)
    if not reader.info.complete:
        raise reader.unfinished()
    names = tables_after(chosen, entry.question)
    if not all(_is_kept(chosen, table) for table in names):
        chosen = update_tables(chosen, names)
    made = chosen.table(name)
    assert made is not None
    return made


def _needs_no_run(reader: Reader, entry: InstalledTable) -> bool:
    return (
        entry.question not in reader.questions
        and not entry.question.switches
        and bool(entry.table.is_available(reader))
    )


def _is_kept(reader: Reader, name: str) -> bool:
    """Returns whether the file of a table is as it would be written now, so that it need not be."""
    file, table = f"tables/{name}.parquet", installed_tables()[name].table
    if not (reader.folder / file).is_file() or reader.altered(file):
        return False
    return table.settings is None or reader.kept_settings(name) == table.settings(reader)


def reason_for_absence(reader: Reader, name: str) -> str:
    if name in reader.table_names:
        return f"not finished, no table '{name}' yet; run the same command again"
    if name in (tables := installed_tables()):
        question, table = tables[name]
        if not reader.augmentations:
            return f"no {name} here: it needs augmentations"
        if table.requires and question in reader.questions:
            return f"no {name} here: it needs {table.requires}"
        if not question.for_pairs:
            return f"no {name} here: it is not available for pairs"
        return f"no {name} here; run the study with `{question.name}`"
    if name == "differences":
        return f"no {name} here: it needs at most {MOST_AUGMENTATIONS} augmentations"
    return f"no table '{name}' here; it has {', '.join(reader.table_names)}"
