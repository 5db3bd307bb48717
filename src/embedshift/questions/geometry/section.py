"""The report's section on the set as a whole."""

from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.report.numbers import fixed
from embedshift.report.section import PageInput, Part, Section
from embedshift.statistics.sample import OF_A_SET

# Metrics of the page's columns, with their decimals.
COLUMNS = {"alignment": 3, "uniformity": 2, "effective_rank": 1, "norm_ratio": 3}


def section(page: PageInput) -> Section | None:
    """Returns the section; None if the table is empty."""
    table = page.data.table("geometry")
    if table is None:
        return None
    cells = {(row["what"], row["metric"]): row for row in table.iter_rows(named=True)}
    columns = [name for name in COLUMNS if any(metric == name for _, metric in cells)]
    names = [ORIGINAL, *page.data.augmentations]
    rows = [{"what": name, "cells": [cell_of(cells.get((name, c)), COLUMNS[c]) for c in columns]} for name in names]
    content = {
        "columns": columns,
        "rows": [row for row in rows if any(row["cells"])],
        "read": min(OF_A_SET, page.data.images),
        "has_vectors": page.info.has_vectors,
    }
    return Section("geometry", "The set as a whole", 57, {"geometry": content})


def cell_of(row: Json | None, places: int) -> Json | None:
    """Formats a value and its interval; None if the set does not have the metric."""
    if row is None:
        return None
    ends = [row["ci_low"], row["ci_high"]]
    interval = "" if None in ends else " to ".join(fixed(end, places) for end in ends)
    return {"value": fixed(row["value"], places), "interval": interval}


TERMS = {
    "alignment": "Mean squared distance between original and view, both normalised to length 1: 0 = no change.",
    "uniformity": "How evenly embeddings are spread over all directions: lower = more even.",
    "effective rank": "How many dimensions a set of embeddings uses.",
}

PART = Part(section, terms=TERMS)
