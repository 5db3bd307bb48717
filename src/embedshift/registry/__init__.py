"""What embedshift can be extended by: names of things, metrics, and the questions that a study asks.

A question is a folder. Its `__init__.py` declares it, with this package and the standard library alone; its other files
are its parts, imported where they are used:

    measure.py   MEASURE   what every row gets; runs beside loader and encoder
    observe.py   OBSERVER  what it does beside the encoder; alone may import torch
    tables.py    TABLES    reader → tables
    figures.py             functions decorated with `embedshift.figures.figure`
    section.py   PART      tables → a section of the report, with its template section.html.j2
"""

from embedshift.registry.fingerprint import fingerprint
from embedshift.registry.metrics import METRICS, Metric, asked_metrics, metric
from embedshift.registry.names import Registry, one_of, unknown_name
from embedshift.registry.questions import QUESTIONS, Question, import_parts, questions, setting, switch_names

__all__ = [
    "METRICS",
    "QUESTIONS",
    "Metric",
    "Question",
    "Registry",
    "asked_metrics",
    "fingerprint",
    "import_parts",
    "metric",
    "one_of",
    "questions",
    "setting",
    "switch_names",
    "unknown_name",
]
