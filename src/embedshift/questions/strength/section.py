"""The report's section and answer on strength: tolerances and relative shifts of families, and corruptions."""

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from embedshift.augmentations.corruptions import STANDARD
from embedshift.augmentations.family import FAMILIES
from embedshift.config import Json
from embedshift.figures.style import human
from embedshift.questions.strength.tables import MEAN, corruptions_of
from embedshift.report.numbers import MISSING, fixed, in_column
from embedshift.report.section import Answer, PageInput, Part, Section
from embedshift.statistics.strengths import (
    MISSED,
    MISSED_CRITERION,
    RELATIVE_SHIFT,
    MeasuredFamily,
    axis_label,
    by_family,
    in_words,
    interval_in_words,
    parameter,
)
from embedshift.statistics.summary import COSINE

# How strong a change was, by the measured views: column of the page → metric.
MEASURED = {"rms": "RMS of pixels", "displacement": "displacement", "hidden": "hidden"}


def section(page: PageInput) -> Section | None:
    table, families = page.data.table("strength"), page.reader.families
    if table is None:
        return None
    tolerance = page.data.table("tolerance")
    by_relative_shift, by_missed = by_family(tolerance), by_family(tolerance, MISSED_CRITERION)
    has_relative_shift = table["relative_shift"].is_not_null().any()
    corruption = page.data.table("corruption")
    content = {
        "reached": tolerances_of(tolerance) if tolerance is not None and has_relative_shift else None,
        "encoder": page.encoder,
        "has_relative_shift": has_relative_shift,
        "relative_shift": RELATIVE_SHIFT,
        "longest": page.reader.info.identity.get("longest"),
        "levels": max(len(family.views) for family in families),
        "measured": list(MEASURED.values()),
        "missed": f"{100 * MISSED:g} %" if by_missed else "",
        "rows": [
            family_row(
                family,
                table.filter(family=family.name),
                [rows.get(family.name) for rows in (by_relative_shift, by_missed) if rows],
            )
            for family in families
        ],
        "corruption": None if corruption is None else corruption_table(corruption, corruptions_of(families)),
        "curves": page.figures.get("strength"),
        "tolerances": page.figures.get("tolerance"),
    }
    return Section("strength", "Tolerance", {"strength": content})


def family_row(family: MeasuredFamily, table: pl.DataFrame, tolerances: Sequence[Json | None]) -> Json:
    value = tolerances[0]["value"] if tolerances and tolerances[0] else None
    cosine = table.filter(metric=COSINE)
    relative_shifts = cosine.select("relative_shift", "relative_shift_low", "relative_shift_high").rows()
    cells = [
        {
            "text": fixed(shift, 3),
            "note": parameter(strength, family.unit),
            "interval": in_column(shift, low, high)[1],
            "change": 100 * min(1.0, max(0.0, shift or 0.0)),
        }
        for strength, (shift, low, high) in zip(family.parameters, relative_shifts, strict=True)
    ]
    return {
        "family": human(family.name),
        "unit": axis_label(family.unit),
        "what": FAMILIES[family.name].what_it_does if family.name in FAMILIES else "",
        "tolerances": [tolerance_in_words(row) if row else (MISSING, "") for row in tolerances],
        "falls": tolerances[0]["falls"] if tolerances and tolerances[0] else None,
        "measured": [_mean_at(family, table.filter(metric=name), value) for name in MEASURED],
        "cells": cells,
    }


def _mean_at(family: MeasuredFamily, table: pl.DataFrame, value: float | None) -> str:
    """Returns a mean at some strength in percent, interpolated linearly between levels; a dash if there is none."""
    means = [0.0, *table["mean"].fill_null(np.nan)]
    if value is None or len(means) != 1 + len(family.views):
        return MISSING
    mean = float(np.interp(family.levels_at(value), np.arange(len(means)), means))
    return MISSING if np.isnan(mean) else f"{fixed(100 * mean, 1)} %"


def corruption_table(table: pl.DataFrame, corruptions: list[MeasuredFamily]) -> Json:
    intervals = {(name, severity): ends for name, severity, *ends in table.iter_rows()}
    severities = range(1, 1 + max(len(family.views) for family in corruptions))
    rows: list[Json] = []
    for family in corruptions:
        keys = [*((family.name, severity) for severity in severities), (family.name, None)]
        cells = [in_column(*intervals.get(key, (None, None, None))) for key in keys]
        rows.append({"name": human(family.name), "cells": cells, "standard": family.name in STANDARD})
    mean = intervals.get((MEAN, None))
    counted = sum(row["standard"] for row in rows)
    mean_cell = None if mean is None else in_column(*mean)
    return {"rows": rows, "severities": severities, "mean": mean_cell, "counted": counted, "of": len(STANDARD)}


def answer(page: PageInput) -> Answer | None:
    table, baseline = page.data.table("tolerance"), page.data.baseline(COSINE)
    if table is None or baseline is None:
        return None
    content = {
        "tolerances": tolerances_of(table),
        "encoder": page.encoder,
        "baseline": baseline,
        "images": page.data.groups_with(COSINE),
    }
    return Answer("How strong a change does the embedding tolerate?", content, covers_all_levels=True)


def tolerances_of(table: pl.DataFrame) -> Json:
    rows, missed = by_family(table).values(), by_family(table, MISSED_CRITERION).values()
    return {
        "reached": _formatted(rows),
        "not_reached": [human(row["family"]) for row in rows if not row["reached"]],
        "unsure": [human(row["family"]) for row in rows if not row["reached"] and {row["low"], row["high"]} != {None}],
        "missed": _formatted(missed),
        "missed_percent": f"{100 * MISSED:g}",
    }


def _formatted(rows: Iterable[Json]) -> list[Json]:
    return [{"name": human(row["family"]), "tolerance": tolerance_in_words(row)} for row in rows if row["reached"]]


def tolerance_in_words(row: Json) -> tuple[str, str]:
    return in_words(row["value"], row["unit"]), interval_in_words(row["low"], row["high"], row["unit"])


TERMS = {
    "family": "One kind of change at levels of increasing strength. At all levels, an image gets the same random "
    "choices, such as sign and position.",
    "level": "One strength of a family. Level 0 is the image itself.",
    "tolerance": f"The strength at which the mean relative shift reaches {RELATIVE_SHIFT:g}, interpolated linearly "
    "between levels.",
    "hidden": "The fraction of a view's pixels that show nothing of the original: covered, or outside its frame.",
    "displacement": "How far pixels moved: root mean square, as a fraction of the image side.",
    "RMS of pixels": "Root mean square of the pixel differences, as a fraction of the pixel range.",
    "SSIM": "Structural similarity of two images in brightness, contrast and structure; 1 = equal.",
    "mean corruption shift": "The mean relative shift over severities, then over corruptions.",
}
CORRECTED = {"Tolerances of families": "Not corrected: each interval is made for 95 % by itself."}

PART = Part(section, answer=answer, terms=TERMS, corrected=CORRECTED)
