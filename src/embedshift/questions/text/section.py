"""The report's section on text: captions, class names and words."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.questions.text.search import MRR, QUERIES
from embedshift.questions.text.tables import ALL, PERMUTATIONS
from embedshift.report.numbers import MISSING, count, fixed, interval_decimals, with_interval
from embedshift.report.section import PageInput, Part, Section
from embedshift.statistics.intervals import APPROXIMATE_BELOW, LEAST_IMAGES

CHANCE = 0.05


def section(page: PageInput) -> Section:
    """Returns the section."""
    figures = {"figure": page.figures.get("text"), "words_figure": page.figures.get("words")}
    content = against(page.reader.identity_of("text"), page.data.table("word_test")) | figures
    content |= searched(page.data.table("text_search"), page.info.counts.measured)
    content |= classified(page.data.table("zero_shot"))
    return Section("text", "Images and text", 70, {"text": content})


def against(asked: Mapping[str, Any], test: pl.DataFrame | None) -> Json:
    """Returns what the section shows beside its figures."""
    phrases = asked.get("words", {})
    rows = [] if test is None else test.filter(pl.col("rank").is_not_null()).to_dicts()
    return {
        "captions": asked.get("captions", {}).get("count", 0),
        "labels": asked.get("labels", {}).get("count", 0),
        "templates": asked.get("templates", []),
        "original": phrases.get(ORIGINAL, ""),
        "rows": [
            {
                "augmentation": row["augmentation"],
                "phrase": phrases[row["augmentation"]],
                "own": fixed(row["own"], 3),
                "others": fixed(row["others"], 3),
                "rank": f"{row['rank']} of {len(rows)}",
                "points": pointing(row),
            }
            for row in rows
        ],
        "verdict": "" if test is None else verdict(test),
    }


def points(row: Mapping[str, Any]) -> bool:
    """Returns whether an augmentation points to its own word: the nearest one, with cosine and lead significant above 0."""
    return bool(row["rank"] == 1 and (row["own_low"] or 0) > 0 and row["significant"] and row["difference"] > 0)


def pointing(row: Mapping[str, Any]) -> str:
    """Formats the same as text; a dash without intervals."""
    if row["own_low"] is None:
        return MISSING
    if points(row):
        return "yes"
    return "no" if row["own_high"] < 0 or (row["high"] or 0) < 0 else "not significant"


def verdict(test: pl.DataFrame) -> str:
    """Describes the test of words in a few sentences; "" if there was none."""
    found = test.filter(pl.col("augmentation") == ALL, pl.col("p_value").is_not_null()).to_dicts()
    if not found:
        return ""
    row = found[0]
    reached = round(row["p_value"] * (1 + PERMUTATIONS)) - 1
    places = 3 if row["own_low"] is None else interval_decimals(row["own_low"], row["own_high"], 3)
    own, others, difference = (fixed(row[name], places) for name in ("own", "others", "difference"))
    numbers = (
        f"The mean cosine of a shift is {own} with its own phrase and {others} with the other phrases: a lead of "
        f"{difference}. Of {PERMUTATIONS:,} random permutations of the phrases, {reached:,} gave a lead as large or "
        f"larger (p = {row['p_value']:.2g})."
    )
    each = test.filter(pl.col("rank").is_not_null()).to_dicts()
    return f"{numbers} {_meaning(row, sum(map(points, each)), len(each), places)}"


def _meaning(row: Mapping[str, Any], found: int, words: int, places: int) -> str:
    """Returns the conclusion that the numbers allow."""
    if row["own_low"] is None or row["own_high"] is None:
        few = f"Fewer than {LEAST_IMAGES} images moved" if (row["n"] or 0) < LEAST_IMAGES else "There is no interval"
        return f"{few}: these numbers allow no conclusion."
    about = f", approximate for fewer than {APPROXIMATE_BELOW} images," if row["n"] < APPROXIMATE_BELOW else ""
    ends = f"{fixed(row['own_low'], places)} to {fixed(row['own_high'], places)}"
    interval = f"The 95 % interval of the first cosine{about} is {ends}"
    if row["own_high"] < 0:
        return f"{interval}: the shifts point away from their phrases."
    if row["own_low"] <= 0:
        return f"{interval}: there is no evidence that the shifts point towards their phrases."
    counted = (
        f"{interval}. For {found} of {words} augmentations, the own phrase is the nearest, and cosine and lead are "
        "significantly above 0."
    )
    if row["p_value"] < CHANCE and 2 * found > words:
        return f"{counted} So the shifts point to their phrases."
    return f"{counted} This does not show that shifts in general point to their phrases."


def searched(table: pl.DataFrame | None, images: int) -> Json:
    """Returns the search by captions for the section."""
    if table is None or table.is_empty():
        return {"search": []}
    of = {(row["augmentation"], row["metric"]): row for row in table.iter_rows(named=True)}
    rows = [
        {"augmentation": name, "cells": [*_cells(of.get((name, "recall@1"))), *_cells(of[name, MRR])]}
        for name in table["augmentation"].unique(maintain_order=True)
    ]
    first = table.filter(pl.col("metric") == "recall@1", pl.col("value").is_not_null())
    return {"search": rows, "found": "" if first.is_empty() else _found(first, images), "queries": QUERIES}


def _cells(row: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Returns before, after and difference, each with its interval."""
    columns = (("before", "before_low", "before_high"), ("value", "ci_low", "ci_high"), ("difference", "low", "high"))
    return [(MISSING, MISSING) if row is None else with_interval(*(row[name] for name in each)) for each in columns]


def _found(first: pl.DataFrame, images: int) -> str:
    least = first.sort("value", maintain_order=True).row(0, named=True)
    name, before, after = least["augmentation"], percent(least["before"]), percent(least["value"])
    if least["ci_low"] is None:
        few = f"Fewer than {LEAST_IMAGES} captions: these numbers allow no conclusion."
        return f"{_first(images)} {before} of cases for the originals, and in {after} under {name}. {few}"
    ends = percent(least["before_low"], least["before_high"]), percent(least["ci_low"], least["ci_high"])
    lost = first.filter(pl.col("high") < 0).height
    return (
        f"{_first(images)} {before} of cases (95 % interval {ends[0]}) for the originals, and in {after} ({ends[1]}) "
        f"under {name}, the lowest rate. The rate falls significantly under {lost} of {first.height} augmentations, "
        "not corrected for their number."
    )


def _first(images: int) -> str:
    return f"Among {count(images, 'image')}, a caption ranks its own image first in"


def classified(table: pl.DataFrame | None) -> Json:
    """Returns the zero-shot classes for the section."""
    rows = [] if table is None else table.to_dicts()
    return {
        "classes": [
            {
                "augmentation": row["augmentation"],
                "agreement": with_interval(row["agreement"], row["ci_low"], row["ci_high"]),
                "before": with_interval(row["margin_before"], None, None)[0],
                "margin": with_interval(row["margin"], row["margin_low"], row["margin_high"]),
            }
            for row in rows
        ]
    }


def percent(*fractions: float) -> str:
    """Formats a proportion, or the ends of its interval, in percent."""
    texts = (
        fixed(100 * fraction, 0 if 0.01 <= fraction <= 0.99 or fraction in (0, 1) else 1) for fraction in fractions
    )
    return f"{' to '.join(texts)} %"


TERMS = {
    "caption": "A text that describes an image.",
    "recall@k": "The fraction of searches whose correct result is among the first k.",
    "mrr": "Mean reciprocal rank: the mean of 1 / rank of the correct result; 1 = always first.",
    "zero-shot": "Classification without training: the class whose text fits the image best.",
    "flip": "The zero-shot class of a view differs from that of its original.",
    "margin": "How much better the original's class fits than the next class; below 0, the view flipped.",
}
CORRECTED = {"Whether a shift points to its own phrase": "Corrected over all augmentations; one permutation test."}

PART = Part(section, terms=TERMS, corrected=CORRECTED)
