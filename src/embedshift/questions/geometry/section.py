from embedshift.augmentations import ORIGINAL
from embedshift.report.section import PageInput, Part, Section
from embedshift.statistics.sample import OF_A_SET

# Metrics of the page's columns, with their decimals.
COLUMNS = {"alignment": 3, "uniformity": 2, "effective_rank": 1, "norm_ratio": 3}


def section(page: PageInput) -> Section | None:
    table = page.data.table("geometry")
    if table is None:
        return None
    cells = {(row["views"], row["metric"]): row for row in table.iter_rows(named=True)}
    columns = {name: places for name, places in COLUMNS.items() if any(metric == name for _, metric in cells)}
    names = [ORIGINAL, *page.data.augmentations]
    rows = {name: {column: cells.get((name, column)) for column in columns} for name in names}
    content = {
        "columns": columns,
        "rows": [{"views": name, "cells": row} for name, row in rows.items() if any(row.values())],
        "read": min(OF_A_SET, page.data.images),
        "images": page.data.images,
        "has_vectors": page.info.has_vectors,
    }
    return Section("geometry", "The set as a whole", {"geometry": content})


TERMS = {
    "alignment": "Mean squared distance between original and view, both normalised to length 1: 0 = no change.",
    "uniformity": "How evenly embeddings are spread over all directions: lower = more even.",
    "effective rank": "How many dimensions a set of embeddings uses.",
}

CORRECTED = {"Numbers of the whole set": "Not corrected: each interval is made for 95 % by itself."}

PART = Part(section, terms=TERMS, corrected=CORRECTED)
