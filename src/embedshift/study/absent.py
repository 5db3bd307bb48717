"""Explains why a study does not have a table."""

from embedshift.statistics.vectors import MOST_AUGMENTATIONS
from embedshift.store.reader import Reader
from embedshift.store.table import installed_tables


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
