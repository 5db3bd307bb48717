"""The table `power` in words: what each comparison finds, and with how many images."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

# Table → what it compares.
KINDS = {
    "differences": "two augmentations",
    "comparison": "two encoders",
    "check": "margins of new rules",
    "tolerance": "interval of a tolerance",
}
PLANNED = ("compared", "to find", "median", "hardest", "range of the hardest")


def in_words(row: Mapping[str, Any]) -> str:
    """Returns what a row of the table finds, in words: "recall@1, loss of 1 point"."""
    effect = row["effect"]
    if row["metric"] == "recall@1":
        return f"loss of {100 * effect:g} point{'' if effect == 0.01 else 's'} of recall@1"
    if row["table"] == "tolerance":
        return f"{row['metric']}, within {100 * (effect - 1):.3g} %"
    return f"{effect:g} times as far"


def planned(table: pl.DataFrame) -> Iterator[tuple[str, ...]]:
    """Yields a row of text, in the order of `PLANNED`, for each table and metric."""
    for rows in table.partition_by("table", "metric", maintain_order=True):
        first, found = rows.row(0, named=True), rows.drop_nulls("n").sort("n")
        numbers: list[int | None] = [None] * 4
        if len(found):
            median, last = found["n"][len(found) // 2], found.row(-1, named=True)
            is_all = len(found) == len(rows)
            numbers = [median, *(last[name] if is_all else None for name in ("n", "n_low", "n_high"))]
        median, hardest, low, high = ("-" if number is None else f"{number:,}" for number in numbers)
        ends = f"{low} to {high}" if hardest != "-" else "-"
        yield KINDS[first["table"]], in_words(first), median, hardest, ends
