"""A study as it would be if its embeddings came through the map of an index."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from embedshift.errors import UsageError
from embedshift.statistics.index import SearchIndex
from embedshift.store.groups import Choice
from embedshift.store.reader import Reader
from embedshift.store.table import installed_tables, tables_of
from embedshift.store.tables import make_tables
from embedshift.study.study import Study, load, reason_for_absence


def load_map(path: str | Path) -> SearchIndex:
    """Reads an index, and refuses one without a map or a size, which changes no embedding."""
    index = SearchIndex.load(path)
    if not index.has_map:
        raise UsageError(
            f"`index` {path}: {index.name} has no map and no size, so that embeddings stay as they are; "
            "`embedshift index` says what a search finds with it"
        )
    return index


class IndexedStudy(Study):
    """A study whose embeddings come through the map and size of an index; its tables are made in memory."""

    def __init__(self, folder: str | Path, path: str | Path) -> None:
        super().__init__(Path(folder))
        self.search_index, self._made = load_map(path), dict[str, pl.DataFrame]()
        reader = load(folder).reader()
        reader.refuse_without_vectors()
        reader.refuse_unfinished()
        reader.refuse_foreign(self.search_index, path)

    def reader(self, *choices: Any) -> Reader:
        return replace(super().reader(*choices), index=self.search_index, made=self._made)

    def regroup(self, groups: Choice | None) -> None:
        Study(self.folder).regroup(groups)

    def table(self, name: str, choices: object = None, /, **settings: Any) -> pl.DataFrame:
        self.regroup(settings.pop("groups", None))
        if choices is not None or settings or name not in self._made:
            entry = installed_tables().get(name)
            if entry is None:
                raise UsageError(f"{self.folder}: no table '{name}' with a map")
            question = entry.question
            chosen = choices if question.choices is None or choices is not None else question.choices(**settings)
            reader = self.reader(chosen)
            if not entry.table.is_available(reader):
                raise UsageError(f"{self.folder}: {reason_for_absence(reader, name)}")
            self._made |= make_tables(reader, {table.name for table in tables_of([question])})
            if name not in reader.table_names:  # the study is older than the question
                self._made[name] = entry.table.make(reader)
        return self._made[name]


def indexed(folders: Sequence[Path], path: Path) -> list[Study]:
    """Returns studies, those after the first through an index; a single one with and without."""
    first, *others = folders
    return [load(first), *(IndexedStudy(folder, path) for folder in others or [first])]
