"""The extension points of embedshift: registries, metrics, and the questions that a study asks.

A question is a folder. Its `__init__.py` declares it and imports only this package and the standard library. Its other
files are its parts, which are imported when they are needed:

    measure.py   MEASURE   computes the values of each row; runs beside the loader and the encoder
    observe.py   OBSERVER  works beside the encoder; only this file may import torch
    tables.py    TABLES    reader → tables
    figures.py             functions decorated with `embedshift.figures.figure`
    section.py   PART      tables → a section of the report, with its template section.html.j2
    index_parts.py         adds parts of an index to `embedshift.statistics.index_parts.PARTS`
    command.py             `Options` and `command` of a command, which `COMMANDS` lists without loading it
"""

from embedshift.registry.commands import COMMANDS, PANELS, Command
from embedshift.registry.fingerprint import fingerprint
from embedshift.registry.metrics import (
    CODE,
    METRICS,
    OWN,
    Metric,
    add_stored,
    asked_metrics,
    import_own,
    imported,
    metric,
    metric_names,
)
from embedshift.registry.names import REPLACED, Registry, one_of, unknown_name
from embedshift.registry.options import argument, made, setting
from embedshift.registry.questions import QUESTIONS, Question, import_parts, questions, switch_kinds, switched

__all__ = [
    "CODE",
    "COMMANDS",
    "METRICS",
    "OWN",
    "PANELS",
    "QUESTIONS",
    "REPLACED",
    "Command",
    "Metric",
    "Question",
    "Registry",
    "add_stored",
    "argument",
    "asked_metrics",
    "fingerprint",
    "import_own",
    "import_parts",
    "imported",
    "made",
    "metric",
    "metric_names",
    "one_of",
    "questions",
    "setting",
    "switch_kinds",
    "switched",
    "unknown_name",
]
