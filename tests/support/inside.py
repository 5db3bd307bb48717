"""What several tests take from inside the package, each from one place: where it moves, this file alone changes."""

import pytest

from embedshift.cli.results import legend, result_grids
from embedshift.questions.check.rules import TABLES
from embedshift.study.indexed import IndexedStudy, indexed

__all__ = ["TABLES", "IndexedStudy", "galleries_in_files", "indexed", "legend", "result_grids"]


def galleries_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search keeps the vectors of its gallery in a file, which else only large galleries need."""
    monkeypatch.setattr("embedshift.arrays.IN_MEMORY", 16)
