"""Explains why a study does not have a table."""

from embedshift.registry import QUESTIONS
from embedshift.statistics.vectors import MOST_AUGMENTATIONS
from embedshift.store.reader import Reader
from embedshift.store.table import tables_of


def why_not(reader: Reader, name: str) -> str:
    """Returns why the table is missing and what to do."""
    if name in reader.table_names:
        return f"not finished, no table '{name}' yet; run the same command again"
    for each in (QUESTIONS[question] for question in QUESTIONS):
        table = next((table for table in tables_of([each]) if table.name == name), None)
        if table is not None and table.requires and each in reader.questions:
            return f"no {name} here: it needs {table.takes}"
        if table is not None and not each.for_pairs:
            return f"no {name} here: it is not available for pairs"
        if table is not None:
            return f"no {name} here; run the study with `{each.name}`"
    if name == "differences":
        return f"no {name} here: it needs at most {MOST_AUGMENTATIONS} augmentations"
    return f"no table '{name}' here; it has {', '.join(reader.table_names)}"
