"""The question's answer on the first screen: which augmentations move the embedding most and least."""

from collections.abc import Mapping

import polars as pl

from embedshift.config import Json
from embedshift.report.numbers import with_interval
from embedshift.report.section import Answer, PageInput
from embedshift.statistics.differences import ordered
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.summary import COSINE, FAR, ROUNDING

# Augmentations whose distance to other originals the answer gives.
NAMED = 3


def answer(page: PageInput) -> Answer:
    shifts = page.data.table("shifts")
    columns = "augmentation", "relative_to_others"
    relative_to_others = {} if shifts is None else dict(shifts.select(*columns).drop_nulls().iter_rows())
    units, pairs = page.data.units_with(COSINE), page.data.table("differences")
    content = shift_extremes(page.data.summary, page.encoder, units, relative_to_others, pairs)
    return Answer("How far does the embedding move?", content)


def shift_extremes(
    summary: pl.DataFrame,
    encoder: str,
    images: int,
    relative_to_others: Mapping[str, float],
    pairs: pl.DataFrame | None = None,
) -> Json:
    measured = summary.filter((pl.col("metric") == COSINE) & pl.col("mean").is_not_null())
    rows = sorted(measured.iter_rows(named=True), key=lambda row: float(row["mean"]))
    if not rows:
        return {"encoder": encoder, "augmentations": 0}
    most, least = rows[0], rows[-1]
    far = [row for row in rows if (row["relative_shift"] or 0.0) > FAR and row["augmentation"] in relative_to_others]
    by_name = {row["augmentation"]: _formatted(row) for row in rows}
    order = None if pairs is None or images < LEAST_IMAGES else ordered(pairs, COSINE, list(by_name))
    return {
        "encoder": encoder,
        "augmentations": len(rows),
        "furthest": order and [by_name[name] for name in order.most],
        "nearest": order and [by_name[name] for name in reversed(order.least)],
        "most": _formatted(most),
        "least": _formatted(least),
        "baseline": most["baseline"],
        "has_relative_shift": most["relative_shift"] is not None,
        "images": images,
        "is_moved": most["mean"] <= 1.0 - ROUNDING,
        "are_equal": least["mean"] - most["mean"] < ROUNDING,
        "lost_views": [_lost(row, relative_to_others[row["augmentation"]]) for row in far[:NAMED]],
    }


def _lost(row: Json, times: float) -> Json:
    centred = with_interval(*(row.get(f"centred_shift{end}") for end in ("", "_low", "_high")))
    return {"augmentation": row["augmentation"], "times": times, "centred": centred, "offset": row.get("common_offset")}


def _formatted(row: Json) -> Json:
    relative_shift = with_interval(row["relative_shift"], row["relative_shift_low"], row["relative_shift_high"])
    return {"augmentation": row["augmentation"], "mean": row["mean"], "relative_shift": relative_shift}
