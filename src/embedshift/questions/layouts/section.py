"""The report's section on layouts: what several vectors of an image find, and how strong a change they tolerate."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from embedshift.config import Json
from embedshift.questions.layouts.tables import ALL, RECALL
from embedshift.report.numbers import MISSING, count, fixed
from embedshift.report.section import Answer, PageInput, Part, Section
from embedshift.statistics.strengths import outward, with_interval_in_words
from embedshift.statistics.thresholds import MATCHED
from embedshift.statistics.vector_layouts import LAYOUTS, ONE, TILES
from embedshift.store.embeddings import images_read

HEADINGS = ("layout", "vectors an image", "recall@1", "gained, points", "matched", "gained, points", "gains most under")


def section(page: PageInput) -> Section | None:
    table = page.reader.table("layouts")
    if table is None or table.is_empty():
        return None
    tolerance, figure = page.reader.table("layout_tolerance"), page.figures.get("layouts")
    content = _content(table) | {"headings": HEADINGS, "rows": [*_rows(table)], "figure": figure}
    content["searched"] = count(images_read(page.reader), "image", page.data.images)
    content |= {
        "layouts": table["layout"].unique(maintain_order=True).to_list(),
        "tolerances": [*_tolerances(tolerance)],
    }
    return Section("layouts", "Layouts", {"layouts": content})


def _content(table: pl.DataFrame) -> Json:
    lines = [_sentence(layout, found) for layout, found in _means(table) if layout != ONE]
    return {"first": lines[0], "others": lines[1:]}


def _means(table: pl.DataFrame) -> Iterator[tuple[str, Mapping[Any, Json]]]:
    """Yields each layout with its numbers over all changes, by metric."""
    for layout in LAYOUTS:
        if found := table.filter(layout=layout, augmentation=ALL).rows_by_key("metric", named=True, unique=True):
            yield layout, found


def _sentence(layout: str, found: Mapping[Any, Json]) -> str:
    """Returns what may be said of a layout, true to its intervals."""
    row, matched = found[RECALL], found[MATCHED]
    vectors = f"{row['vectors']} vectors an image" if layout == TILES else "one vector an image"
    if row["difference_low"] is None:
        return f"{layout} ({vectors}): {_points(row)}, of too few images for an interval."
    more = row["difference_low"] > 0
    words = (
        "finds more" if more else "finds fewer" if row["difference_high"] < 0 else "no difference in recall@1 is shown"
    )
    rate = "" if matched["difference"] is None else f"; at one false match in a thousand pairs {_points(matched)}"
    return f"{layout} ({vectors}): {words}, {_points(row)}{rate}."


def _points(row: Json) -> str:
    """Returns points gained, such as "+4.0 points (+2.1 to +6.2)"; a dash where there are none."""
    if row["difference"] is None:
        return MISSING
    low, high = (None if row[name] is None else 100 * row[name] for name in _ENDS)
    words = f"{round(100 * row['difference'], 1) + 0.0:+.1f} points"
    if low is not None and high is not None:
        words += f" ({' to '.join(f'{end:+.1f}' for end in outward(low, high, 1))})"
    return words.replace("-", "−")


_ENDS = ("difference_low", "difference_high")


def _rows(table: pl.DataFrame) -> Iterator[tuple[str, ...]]:
    for layout, found in _means(table):
        changes = table.filter(pl.col("augmentation") != ALL, layout=layout, metric=RECALL).drop_nulls("difference")
        best = changes.sort("difference", descending=True, maintain_order=True).head(1).to_dicts()
        most = [f"{row['augmentation']}: {_points(row)}" for row in best if row["difference"] > 0]
        gains = [MISSING if layout == ONE else _points(found[metric]) for metric in (RECALL, MATCHED)]
        recall, matched = (fixed(found[metric]["value"], 3) for metric in (RECALL, MATCHED))
        yield (layout, str(found[RECALL]["vectors"]), recall, gains[0], matched, gains[1], most[0] if most else MISSING)


def _tolerances(table: pl.DataFrame | None) -> Iterator[tuple[str, ...]]:
    """Yields a row a family: its criterion, then the strength that each layout tolerates."""
    if table is None:
        return
    for (family, criterion), rows in table.group_by("family", "criterion", maintain_order=True):
        yield str(family), str(criterion), *(with_interval_in_words(row) for row in rows.iter_rows(named=True))


def answer(page: PageInput) -> Answer | None:
    table = page.reader.table("layouts")
    if table is None or table.is_empty():
        return None
    return Answer("What are several vectors of an image worth?", {"layouts": _content(table)}, covers_all_levels=True)


TERMS = {
    "layout": "Which vectors stand for an image in a gallery, and which one for a query.",
    "tile": "A part of an image with a vector of its own; of four tiles each shows 60 % of a side, of nine 45 %.",
}
CORRECTED = {"Gains of layouts": "Each change and layout at 95 %; not corrected for their number."}
PART = Part(section, answer=answer, terms=TERMS, corrected=CORRECTED)
